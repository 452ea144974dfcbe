"""A FastCGI client, and the program behind a socket.

The client speaks the protocol by hand, so that a test can send a request slowly, cut it off, keep the
connection or send what is no request at all. https://fastcgi-archives.github.io/FastCGI_Specification.html
"""

import os
import socket
import struct
import unittest

import ntrvsta

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)
RESPONDER = 1
KEEP_CONN = 1
RECORD_MAX = 65535


def record(kind, content=b"", request_id=1, padding=None):
    pad = -len(content) % 8 if padding is None else padding
    return struct.pack(">BBHHBx", 1, kind, request_id, len(content), pad) + content + bytes(pad)


def stream(kind, data, request_id=1, chunk=RECORD_MAX):
    """DATA in records, and the empty one that ends the stream."""
    records = [record(kind, data[i:i + chunk], request_id) for i in range(0, len(data), chunk)]
    return b"".join(records) + record(kind, b"", request_id)


def pairs(params):
    def length(n):
        return bytes([n]) if n < 128 else struct.pack(">I", n | 1 << 31)
    out = b""
    for name, value in params.items():
        name, value = os.fsencode(name), os.fsencode(value)
        out += length(len(name)) + length(len(value)) + name + value
    return out


def begin(keep=False, request_id=1, role=RESPONDER):
    return record(BEGIN_REQUEST, struct.pack(">HB5x", role, KEEP_CONN if keep else 0), request_id)


def encode(params, body=b"", keep=False, request_id=1, chunk=RECORD_MAX):
    """A whole request."""
    return (begin(keep, request_id) + stream(PARAMS, pairs(params), request_id, chunk)
            + stream(STDIN, body, request_id, chunk))


class Connection:
    def __init__(self, address, timeout=30):
        """ADDRESS is the path of a socket, or (host, port)."""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self.pending = b""

    def send(self, data):
        self.socket.sendall(data)

    def _take(self, size):
        """SIZE bytes; None at the end of file."""
        while len(self.pending) < size:
            more = self.socket.recv(65536)
            if not more:
                return None
            self.pending += more
        taken, self.pending = self.pending[:size], self.pending[size:]
        return taken

    def answer(self):
        """The next answer; None where the connection ends without one."""
        out, err = b"", b""
        while True:
            try:
                head = self._take(8)
                if head is None:
                    return None
                _, kind, _, size, pad = struct.unpack(">BBHHBx", head)
                content = self._take(size + pad)
            except ConnectionResetError:
                return None
            if content is None:
                return None
            if kind == STDOUT:
                out += content[:size]
            elif kind == STDERR:
                err += content[:size]
            elif kind == END_REQUEST:
                return ntrvsta.parse_response(out, stderr=err)

    def ended(self):
        """Wait for the other end to close; True where nothing more came."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def call(self, params, body=b"", keep=False, **how):
        self.send(encode(params, body, keep, **how))
        return self.answer()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Program:
    """ntrvsta-fcgi with a listening socket as its standard input, as spawn-fcgi and systemd start it.
    What it logs goes to fcgi.log in the site's folder."""

    def __init__(self, site, env=None, tcp=False, argv=()):
        self.site = site
        self.log = os.path.join(site.dir, "fcgi.log")
        self.listener = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        if tcp:
            self.listener.bind(("127.0.0.1", 0))
            self.address = self.listener.getsockname()
        else:
            self.address = os.path.join(site.dir, "fcgi.sock")
            self.listener.bind(self.address)
        self.listener.listen(1024)
        self.env, self.argv = env, argv
        self.child = None
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.child = self.site.spawn([*self.argv, self.site.fcgi], stdin=self.listener, stdout=log, stderr=log,
                                         env=self.site.environment(self.env), cwd="/", **self.site.as_user())

    @property
    def pid(self):
        return self.child.pid

    def connect(self, timeout=30):
        return Connection(self.address, timeout)

    def call(self, body=b"", timeout=30, **how):
        """One request on a connection of its own."""
        with self.connect(timeout) as connection:
            return connection.call(self.site.request(body, **how), body)

    def logged(self):
        return ntrvsta.read_file(self.log).decode(errors="replace")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_kib(self):
        with open(f"/proc/{self.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def stop(self, number=15, timeout=30):
        """Its exit status."""
        return ntrvsta.stop(self.child, number, timeout)

    def close(self):
        self.stop()
        self.listener.close()
        if isinstance(self.address, str) and os.path.exists(self.address):
            os.unlink(self.address)


QUIET = {"dispatch": {"start": "off"}, "web": {"rate_limit": "0"}}


class ProgramCase(unittest.TestCase):
    """Tests that call the program over FastCGI or, with `cgi`, as plain CGI."""

    cgi = False

    def start(self, settings=None, handlers=None):
        """A site, with SETTINGS laid over QUIET, and its program."""
        self.site = ntrvsta.Site(QUIET, handlers)
        self.addCleanup(self.site.close)
        self.site.configure(settings or {})
        self.program = None
        if not self.cgi:
            self.program = Program(self.site)
            self.addCleanup(self.program.close)
            self.addCleanup(lambda: self.assertEqual(self.program.stop(), 0, self.program.logged()))
        return self.site
