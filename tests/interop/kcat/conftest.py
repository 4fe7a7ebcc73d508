"""kcat's tests use what the Python clients' tests know of the wire, and their fixtures."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "kafka-python"))

from fixtures import address, name  # noqa: E402, F401
