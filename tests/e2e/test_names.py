"""Names that lead where no webhook may lead, or nowhere: the dispatcher asks a name server of the test's own, by way
of the C library's resolver and an /etc/resolv.conf in a mount namespace."""

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import tap
from ntrvsta import Site, event, sanitized
from receiver import Authority, ReceiverCase, register

PATIENCE = 5 if sanitized() else 1
NAME_SERVER = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"  # its port is always the same; suites run side by side
AAAA = 28


def may_unshare():
    try:
        return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "mount", "--bind", "/etc/hosts", "/etc/hosts"],
                                                    capture_output=True).returncode == 0
    except OSError:
        return False


class NameServer:
    """Answers from NAMES: {name: list of addresses, or a list of such lists, one for each look-up, the last for all
    that follow; None: no answer at all}. What is not there does not exist."""

    def __init__(self, names):
        self.names, self.asked = names, []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((NAME_SERVER, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        query = b"?"
        while query:
            try:
                query, peer = self._socket.recvfrom(1500)
            except OSError:
                return
            answer = query and self._answer(query)
            if answer:
                self._socket.sendto(answer, peer)

    def _addresses(self, name, kind):
        found = self.names[name]
        if found and isinstance(found[0], list):
            # A look-up asks for both kinds; it is over with the second question.
            n = sum(1 for asked in self.asked if asked == (name, kind)) - 1
            found = found[min(n, len(found) - 1)]
        return [a for a in found if (":" in a) == (kind == AAAA)]

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        name, (kind,) = ".".join(labels), struct.unpack(">H", query[at + 1:at + 3])
        question = query[12:at + 5]
        self.asked.append((name, kind))
        if name not in self.names:
            return query[:2] + struct.pack(">HHHHH", 0x8183, 1, 0, 0, 0) + question
        if self.names[name] is None:
            return None
        answers = b""
        addresses = self._addresses(name, kind)
        for a in addresses:
            packed = socket.inet_pton(socket.AF_INET6 if ":" in a else socket.AF_INET, a)
            answers += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(packed)) + packed
        return query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(addresses), 0, 0) + question + answers

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()


@unittest.skipUnless(may_unshare(), "wants root, and a mount namespace of its own")
class NamesCase(ReceiverCase):
    def make(self, names, certificates=None, **webhooks):
        site = Site({"dispatch": {"start": "off", "concurrency": "16"},
                     "webhooks": {"allow_http": "on", "retry_schedule": "1s 1s 1s 1s 1s 1s", **webhooks}})
        self.addCleanup(site.close)
        self.server = NameServer(names)
        self.addCleanup(self.server.close)
        self.make_tool(site, certificates)
        return site

    def make_tool(self, site, certificates):
        """`ntrvsta`, with other files in /etc."""
        binds = []
        for target, text in (("/etc/resolv.conf", f"nameserver {NAME_SERVER}\noptions timeout:5 attempts:2\n"),
                             ("/etc/nsswitch.conf", "hosts: files dns\n"), ("/etc/hosts", "127.0.0.1 localhost\n")):
            path = os.path.join(site.dir, os.path.basename(target))
            with open(path, "w") as f:
                f.write(text)
            binds.append(f"mount --bind '{path}' {target}")
        if certificates:
            binds.append(f"mount --bind '{certificates}' /etc/ssl/certs")
        tool, site.tool_path = site.tool_path, os.path.join(site.dir, "tool")
        with open(site.tool_path, "w") as f:
            f.write("#!/bin/sh\nexec unshare -m sh -ec '" + "; ".join(binds).replace("'", "'\\''") +
                    f"; exec \"$@\"' sh '{tool}' \"$@\"\n")
        os.chmod(site.tool_path, 0o755)

    def post(self, site, body=None):
        self.assertEqual(site.cgi(body or event()).status, 200)

    def attempts(self, site, hook):
        return site.query("SELECT a.error_code, a.error_message FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq"
                          " JOIN target t ON t.id = d.target WHERE t.name = ? ORDER BY a.seq", hook)


class Names(NamesCase):
    def test_bad_addresses(self):
        """a name of private addresses only is not called; nor is one that does not exist"""
        r = self.receive(host="127.0.0.3")
        site = self.make({"bad.example": ["127.0.0.3", "::1"], "mapped.example": ["::ffff:127.0.0.3"],
                          "metadata.example": ["169.254.169.254"], "nat64.example": ["64:ff9b::7f00:3"]})
        names = ("bad.example", "mapped.example", "metadata.example", "nat64.example", "none.example", "bad.example.")
        hooks = register(site, *(f"http://{name}:{r.port}/" for name in names))
        self.post(site)
        site.dispatch_once()
        for name, hook in zip(names, hooks):
            with self.subTest(name):
                code, message = self.attempts(site, hook)[0]
                self.assertEqual(code, "dns" if name == "none.example" else "address_refused", message)
        self.assertEqual(r.accepted, 0)

    def test_good_and_bad(self):
        """of a name with a good and a bad address only the good one is connected to, in either order"""
        good = self.receive(host="127.0.0.2")
        bad = self.receive(host="127.0.0.3", port=good.port)
        site = self.make({"first.example": ["127.0.0.2", "127.0.0.3"], "last.example": ["127.0.0.3", "127.0.0.2"]},
                         allow_private="127.0.0.2")
        hooks = register(site, *(f"http://{name}:{good.port}/" for name in ("first.example", "last.example")))
        self.post(site)
        site.dispatch_once()
        self.assertEqual([self.attempts(site, hook) for hook in hooks], [[("", "")]] * 2)
        good.close()
        self.post(site, event(n=2))
        site.dispatch_once()
        self.assertEqual((len(good.requests), bad.accepted), (2, 0))

    def test_second_look_up(self):
        """a name that leads to a bad address at the second look-up: not called then"""
        good = self.receive(host="127.0.0.2")
        bad = self.receive(host="127.0.0.3", port=good.port)
        site = self.make({"turns.example": [["127.0.0.2"], ["127.0.0.3"]]}, allow_private="127.0.0.2")
        hook = register(site, f"http://turns.example:{good.port}/")
        for n, code in enumerate(("", "address_refused")):
            self.post(site, event(n=n))
            site.dispatch_once()  # each remembers nothing of the one before
            self.assertEqual(self.attempts(site, hook)[n][0], code)
        self.assertEqual((len(good.requests), bad.accepted), (1, 0))

    def test_silent_name_server(self):
        """a name server that does not answer delays nobody else's calls"""
        r = self.receive(host="127.0.0.2")
        site = self.make({"silent.example": None}, allow_private="127.0.0.2", connect_timeout="1s", timeout="2s",
                         concurrency="4")
        dead = register(site, f"http://silent.example:{r.port}/")
        live = register(site, r.url(), events="candidate.invited")
        dispatcher = site.start_dispatcher()
        for n in range(4):
            self.post(site, event(n=n))
        begun = time.monotonic()
        delays = []
        while time.monotonic() < begun + 4:
            n = len(r.requests)
            sent = time.time()
            self.post(site, event("candidate.invited", n=n))
            delays.append((r.wait(n + 1)[n].received - sent) * 1000)
            time.sleep(0.1)
        self.assertLess(max(delays), 600 * PATIENCE, f"ms: {delays}")
        self.assertGreaterEqual(len(self.attempts(site, dead)), 4)
        self.assertEqual({code for code, _ in self.attempts(site, dead)} - {"timeout", "dns"}, set())
        self.assertEqual({code for code, _ in self.attempts(site, live)}, {""})
        dispatcher.terminate()
        self.assertEqual(dispatcher.wait(10 * PATIENCE), 0)


class SystemAuthorities(NamesCase):
    def test_ca_file_instead(self):
        """with ca_file the system's certificate authorities do not count, without it they do"""
        folder = Site()  # any temporary folder
        self.addCleanup(folder.close)
        own, system = Authority(folder.dir, "own"), Authority(folder.dir, "system")
        certificates = os.path.join(folder.dir, "certs")
        os.mkdir(certificates)
        for name in ("ca-certificates.crt", "system.pem"):
            shutil.copy(system.ca_file, os.path.join(certificates, name))
        subprocess.run(["openssl", "rehash", certificates], check=True, capture_output=True)
        r = self.receive(system.server("localhost"))
        for ca_file, code in ((None, ""), (own.ca_file, "tls"), (system.ca_file, "")):
            site = self.make({}, certificates, ca_file=ca_file, allow_private="127.0.0.1")
            hook = register(site, r.url())
            self.post(site)
            site.dispatch_once()
            self.assertEqual(self.attempts(site, hook)[0][0], code, ca_file)
            self.server.close()
            site.close()


if __name__ == "__main__":
    tap.main()
