"""The broker under test.

``BRAIDMQ_KAFKA`` is the address (host:port) of one that runs; any Kafka broker will do. ``BRAIDMQ_BINARY`` is the path of a
``braidmq`` executable, for the tests that kill one; they are skipped without it.
"""

import json
import os
import pathlib
import signal
import subprocess
import tempfile

from wait import until

START_SECONDS_MAX = 30

#: By how much counts are scaled; 1 is the full count.
SCALE = float(os.environ.get("BRAIDMQ_TEST_SCALE", "0.2"))


def address():
    return os.environ["BRAIDMQ_KAFKA"]


def scaled(count):
    """``count`` of a full run, never less than a fifth of it."""
    return max(1, int(count * max(SCALE, 0.2)))


class OwnBroker:
    """A ``braidmq`` of the test's own, in a temporary directory. A restart takes the same ports."""

    def __init__(self, binary):
        self.binary = binary
        self.directory = tempfile.TemporaryDirectory(prefix="braidmq-interop-")
        self.address = "127.0.0.1:0"
        self.start()

    def start(self):
        root = pathlib.Path(self.directory.name)
        ready = root / "ready.json"
        ready.unlink(missing_ok=True)
        settings = {
            "listen.kafka": self.address,
            "listen.rocketmq": "127.0.0.1:0",
            "listen.rocketmq_fast": "off",
            "listen.nameserver": "127.0.0.1:0",
            "store.file_bytes": str(16 << 20),
            "kafka.initial_rebalance_delay_ms": "0",
        }
        command = [self.binary, "start", "--data", str(root / "data"), "--ready-file", str(ready)]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        with open(root / "broker.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(
            "braidmq serves",
            lambda: self.process.poll() is not None or (ready.exists() and ready.read_text().rstrip().endswith("}")),
            START_SECONDS_MAX,
        )
        if self.process.returncode is not None:
            raise AssertionError(f"braidmq ended with {self.process.returncode}: {(root / 'broker.log').read_text()[-4000:]}")
        self.address = json.loads(ready.read_text())["listeners"]["kafka"]

    def kill(self):
        """SIGKILL: nothing is flushed, no goodbye is sent."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.directory.cleanup()

