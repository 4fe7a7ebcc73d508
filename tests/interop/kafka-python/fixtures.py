import os
import uuid

import pytest

import broker


@pytest.fixture(scope="session")
def address():
    return broker.address()


@pytest.fixture
def name(request):
    """A name that no other test has, for topics and groups."""
    test = "".join(c if c.isalnum() else "-" for c in request.node.name)[:60].strip("-")
    return f"{test}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def own_broker():
    binary = os.environ.get("BRAIDMQ_BINARY")
    if not binary:
        pytest.skip("kills its broker: needs BRAIDMQ_BINARY")
    own = broker.OwnBroker(binary)
    yield own
    own.close()
