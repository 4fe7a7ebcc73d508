from fixtures import address, name, own_broker  # noqa: F401
