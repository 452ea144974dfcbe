"""A receiver that speaks HTTP/2 frame by frame (RFC 9113), to answer as no server would.

    with Http2Receiver(authority.server("localhost"), lambda peer, stream: peer.head(stream, OK, END_STREAM)) as r: ...
"""

import struct

from receiver import Receiver

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
OK, ERROR = b"\x88", b"\x8e"  # :status 200, 500: indexes of the static table (RFC 7541, appendix A)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INTERNAL_ERROR = struct.pack(">I", 2)


def number(value):
    """In a prefix of seven bits (RFC 7541, section 5.1)."""
    if value < 127:
        return bytes([value])
    out, value = b"\x7f", value - 127
    while value > 127:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def field(name, value):
    """A header, as a literal that is not indexed."""
    return b"\0" + number(len(name)) + name + number(len(value)) + value


class Peer:
    def __init__(self, connection):
        self.connection = connection
        self.buffered = b""

    def read(self, size):
        while len(self.buffered) < size:
            more = self.connection.recv(65536)
            if not more:
                raise OSError("closed")
            self.buffered += more
        out, self.buffered = self.buffered[:size], self.buffered[size:]
        return out

    def receive(self):
        """The next frame: (type, flags, stream)."""
        high, low, kind, flags, stream = struct.unpack(">BHBBI", self.read(9))
        self.read(high * 65536 + low)
        return kind, flags, stream

    def send(self, kind, flags, stream, payload=b""):
        self.connection.sendall(struct.pack(">BHBBI", len(payload) >> 16, len(payload) & 65535, kind, flags, stream) + payload)

    def head(self, stream, block, flags=0):
        """Status and headers, or a trailer; in several frames where it is long."""
        parts = [block[i:i + 16384] for i in range(0, len(block), 16384)]
        for n, part in enumerate(parts):
            last = END_HEADERS if n == len(parts) - 1 else 0
            self.send(CONTINUATION if n else HEADERS, last | (0 if n else flags), stream, part)


class Http2Receiver(Receiver):
    """ANSWER is a function of (peer, stream), called for each request that has come whole; where it returns False the
    connection is closed. `calls` counts these."""

    def __init__(self, tls, answer, **how):
        tls.set_alpn_protocols(["h2"])
        self.calls = 0
        super().__init__(tls, answer, **how)

    def _one(self, connection):
        peer = Peer(connection)
        if peer.read(len(PREFACE)) != PREFACE:
            return False
        peer.send(SETTINGS, 0, 0)
        while True:
            kind, flags, stream = peer.receive()
            if kind == SETTINGS and not flags & ACK:
                peer.send(SETTINGS, ACK, 0)
            elif kind in (HEADERS, DATA) and flags & END_STREAM:
                with self._lock:
                    self.calls += 1
                if self.answer(peer, stream) is False:
                    return False
