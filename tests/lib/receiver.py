"""Who is called: receivers on real sockets, certificates of our own, and webhooks in a site's store.

    authority = Authority(folder)
    with Receiver(authority.server("localhost")) as r:
        hook = register(site, r.url("/hooks"))
        r.wait(1)[0].headers["webhook-id"]
"""

import base64
import contextlib
import itertools
import os
import secrets as random
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
import unittest

from ntrvsta import free_port, wait_for

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
FAR_FUTURE_MS = 4_102_444_800_000
HEAD_MAX = 1 << 16
NGINX = """
daemon off; pid {folder}/pid; worker_processes 1; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    log_format protocol '$server_protocol'; access_log {log}; client_body_temp_path {folder}/body;
    server {{
        listen 127.0.0.1:{port} ssl{http2}; ssl_certificate {certificate}; ssl_certificate_key {key};
        keepalive_requests 1000000000; location / {{ return 200; }}
    }}
}}
"""


# --- certificates ---

def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True, timeout=60)


class Authority:
    """A certificate authority of its own in FOLDER; `ca_file` is what [webhooks] ca_file wants."""

    def __init__(self, folder, name="authority"):
        self.folder, self.name = folder, name
        self.ca_file, self.key = self._path("pem"), self._path("key")
        openssl("req", "-x509", *CURVE, "-keyout", self.key, "-out", self.ca_file, "-subj", f"/CN={name}", "-days", "30")

    def _path(self, ending):
        return os.path.join(self.folder, f"{self.name}.{ending}")

    def certificate(self, *names, dates=("20260101000000Z", "20991231000000Z"), label="server"):
        """Files with a certificate for NAMES ("localhost", "127.0.0.1"), and its key."""
        key, request, signed, config = (self._path(f"{label}.{e}") for e in ("key", "csr", "pem", "cnf"))
        alternatives = ",".join(("IP:" if n.replace(".", "").isdigit() or ":" in n else "DNS:") + n for n in names)
        openssl("req", *CURVE, "-keyout", key, "-out", request, "-subj", f"/CN={names[0]}")
        for empty in ("index", "index.attr"):
            open(self._path(f"{label}.{empty}"), "w").close()
        with open(config, "w") as f:
            f.write(f"[ca]\ndefault_ca = own\n[own]\ndatabase = {self._path(label + '.index')}\nrand_serial = yes\n"
                    f"default_md = sha256\npolicy = any\nnew_certs_dir = {self.folder}\nx509_extensions = ext\n"
                    f"[any]\ncommonName = supplied\n[ext]\nsubjectAltName = {alternatives}\n")
        openssl("ca", "-batch", "-notext", "-config", config, "-cert", self.ca_file, "-keyfile", self.key, "-in", request,
                "-out", signed, "-startdate", dates[0], "-enddate", dates[1])
        return signed, key

    def server(self, *names, **how):
        """For Receiver: a server's side of TLS with such a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate(*names, **how))
        return context


# --- receivers ---

class Request:
    def __init__(self, head, body, received):
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = first.split(" ", 2)
        self.header_list = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        self.headers = {name.lower(): value for name, value in self.header_list}
        self.body = body
        self.received = received  # time.time()


def response(status, body=b"", **headers):
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Receiver:
    """Answers each request with ANSWER: a status; bytes, sent as they are; a function of (connection, request)
    that says more itself and returns one of these, or None, after which the connection is closed; or a list
    of such, one for each request, the last for all that follow."""

    def __init__(self, tls=None, answer=200, host="127.0.0.1", port=0):
        self.tls, self.answer, self.host = tls, answer, host
        self.requests, self.accepted = [], 0
        self._lock = threading.Lock()
        self._open = set()
        self._listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind((host, port))
        self._listening.listen(512)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path="/", host=None):
        host = host or ("localhost" if self.tls else self.host)
        return f"http{'s' if self.tls else ''}://{f'[{host}]' if ':' in host else host}:{self.port}{path}"

    def wait(self, count, timeout=20):
        """The requests so far, once there are COUNT."""
        wait_for(lambda: len(self.requests) >= count, timeout, f"{count} calls, not {len(self.requests)}")
        return list(self.requests)

    def _accept(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                self.accepted += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with self._lock:
                self._open.add(connection)
            while self._one(connection):
                pass
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _one(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(HEAD_MAX)
            if not more:
                return False
            data += more
            if data[0] == 22:  # somebody speaks TLS to us, who don't
                connection.sendall(response(400))
                return False
        head, _, body = data.partition(b"\r\n\r\n")
        request = Request(head, b"", time.time())
        length = int(request.headers.get("content-length", 0))
        while len(body) < length:
            more = connection.recv(HEAD_MAX)
            if not more:
                return False
            body += more
        request.body = body
        with self._lock:
            self.requests.append(request)
            answer = self.answer
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(connection, request)
        if answer is None:
            return False
        connection.sendall(answer if isinstance(answer, bytes) else response(answer))
        return True

    def close(self):
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class ReceiverCase(unittest.TestCase):
    def receive(self, *args, **how):
        """A receiver until the end of the test."""
        r = Receiver(*args, **how)
        self.addCleanup(r.close)
        return r


class Nginx:
    """Answers 200 to everything, over TLS, before it has read the body."""

    def __init__(self, folder, authority, http2, log=True):
        self.port, self.access = free_port(), os.path.join(folder, "access")
        certificate, key = authority.certificate("localhost")
        conf = os.path.join(folder, "nginx.conf")
        with open(conf, "w") as f:
            f.write(NGINX.format(folder=folder, port=self.port, certificate=certificate, key=key, http2=" http2" if http2 else "",
                                 log=self.access + " protocol" if log else "off"))
        self.child = subprocess.Popen(["nginx", "-c", conf, "-e", os.path.join(folder, "error.log")])
        wait_for(self.answers, 10, "nginx")

    def protocols(self):
        with open(self.access) as f:
            return f.read().split("\n")[:-1]

    def answers(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self):
        self.child.terminate()
        self.child.wait()


# --- webhooks in the store ---

def make_secret():
    return "whsec_" + base64.b64encode(random.token_bytes(32)).decode()


@contextlib.contextmanager
def writing(site):
    if not os.path.exists(site.db_file):
        site.tool("events")
    db = sqlite3.connect(site.db_file, timeout=20)
    try:
        with db:
            yield db
    finally:
        db.close()


numbers = itertools.count(1)


def new_id(number):
    """Looks like a webhook's id; those with larger numbers sort behind."""
    return f"wh_{number:026d}"


def register(site, *urls, events="*", secret=None, active=True):
    """A webhook for each of URLS; their ids, or the id where it is one."""
    now_ms = int(time.time() * 1000)
    ids = [new_id(next(numbers)) for _ in urls]
    with writing(site) as db:
        db.executemany("INSERT INTO webhook (id, url, description, events, active, created_ms, updated_ms)"
                       " VALUES (?, ?, '', ?, ?, ?, ?)",
                       [(i, u, events, int(active), now_ms, now_ms) for i, u in zip(ids, urls)])
        db.executemany("INSERT INTO webhook_secret (webhook, secret, created_ms, until_ms) VALUES (?, ?, ?, 0)",
                       [(i, secret or make_secret(), now_ms) for i in ids])
    return ids[0] if len(urls) == 1 else ids


def rotate(site, hook, secret, until_ms=FAR_FUTURE_MS):
    """SECRET signs from now on, those of before until UNTIL_MS as well."""
    with writing(site) as db:
        db.execute("UPDATE webhook_secret SET until_ms = ? WHERE webhook = ? AND until_ms = 0", (until_ms, hook))
        db.execute("INSERT INTO webhook_secret (webhook, secret, created_ms, until_ms) VALUES (?, ?, ?, 0)",
                   (hook, secret, int(time.time() * 1000)))


def end_overlap(site, hook):
    with writing(site) as db:
        db.execute("UPDATE webhook_secret SET until_ms = 1 WHERE webhook = ? AND until_ms > 0", (hook,))


def set_active(site, hook, active):
    with writing(site) as db:
        db.execute("UPDATE webhook SET active = ?, inactive_reason = '' WHERE id = ?", (int(active), hook))


def delete(site, hook):
    """As store_delete_webhook() does it."""
    with writing(site) as db:
        db.execute("DELETE FROM webhook_secret WHERE webhook = ?", (hook,))
        db.execute("DELETE FROM webhook WHERE id = ?", (hook,))
        db.execute("UPDATE delivery SET state = 'canceled' WHERE state = 'pending'"
                   " AND target = (SELECT id FROM target WHERE name = ?)", (hook,))


def secrets_of(site, hook):
    """All that it has, newest first."""
    return [s for s, in site.query("SELECT secret FROM webhook_secret WHERE webhook = ? ORDER BY seq DESC", hook)]
