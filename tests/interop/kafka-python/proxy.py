"""A proxy that loses answers: it forwards a produce request, keeps the answer for itself and cuts the connection.

The client then has to ask again for something that the broker has done, which is what idempotence is for. The broker names its
own address in its answers; the proxy listens on the same port of another loopback address and replaces the one by the other.
"""

import collections
import socket
import struct
import threading

PRODUCE = 0
HERE, THERE = b"127.0.0.2", b"127.0.0.1"


class LosingProxy:
    def __init__(self, address, lose_every):
        """Swallows the answer to one produce request in ``lose_every``."""
        host, port = address.rsplit(":", 1)
        assert host.encode() == THERE, f"the broker has to be on {THERE.decode()}"
        self.port = int(port)
        self.lose_every = lose_every
        self.produced = 0
        self.lost = 0
        self.lock = threading.Lock()
        self.sockets = set()
        self.listener = socket.create_server((HERE.decode(), self.port))
        self.address = f"{HERE.decode()}:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection((THERE.decode(), self.port))
            except OSError:
                return
            with self.lock:
                self.sockets |= {client, server}
            asked = collections.deque()
            for run in (self.forward_requests, self.forward_answers):
                threading.Thread(target=run, args=(client, server, asked), daemon=True).start()

    def forward_requests(self, client, server, asked):
        try:
            while frame := read_frame(client):
                asked.append(struct.unpack_from(">h", frame, 4)[0])
                server.sendall(frame)
        except OSError:
            pass
        self.cut(client, server)

    def forward_answers(self, client, server, asked):
        try:
            while frame := read_frame(server):
                if asked.popleft() == PRODUCE and self.is_lost():
                    break
                client.sendall(frame.replace(THERE, HERE))
        except OSError:
            pass
        self.cut(client, server)

    def is_lost(self):
        with self.lock:
            self.produced += 1
            lost = self.produced % self.lose_every == 0
            self.lost += lost
        return lost

    def cut(self, *sockets):
        for one in sockets:
            with self.lock:
                self.sockets.discard(one)
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut(*list(self.sockets))


def read_frame(connection):
    """A whole frame with its length, or nothing at the end of the connection."""
    data = b""
    needed = 4
    while len(data) < needed:
        more = connection.recv(needed - len(data))
        if not more:
            return None
        data += more
        if len(data) == 4:
            needed = 4 + struct.unpack(">i", data)[0]
    return data
