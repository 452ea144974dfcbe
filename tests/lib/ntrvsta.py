"""A site of its own for each test: configuration, secret, handlers and state in a temporary folder.

    with Site(handlers={"session.completed": "cat > $HOME/out"}) as site:
        answer = site.cgi(event("session.completed"))

Nothing is left behind: close() ends every process that works for the site, also a dispatcher that
was started by the way, and removes the folder.
"""

import atexit
import hashlib
import hmac
import json
import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SRCDIR = os.path.abspath(os.environ.get("srcdir") or os.path.join(HERE, "..", ".."))


def find_builddir():
    given = os.environ.get("builddir")
    if given:
        return os.path.abspath(given)
    for folder in (os.getcwd(), SRCDIR, *(os.path.join(SRCDIR, d) for d in ("build", "build-gcc", "build-clang"))):
        if os.access(os.path.join(folder, "ntrvsta-fcgi"), os.X_OK):
            return folder
    return SRCDIR


BUILDDIR = find_builddir()
FCGI = os.path.join(BUILDDIR, "ntrvsta-fcgi")
TOOL = os.path.join(BUILDDIR, "ntrvsta")

if not os.access(FCGI, os.X_OK):
    print(f"Bail out! no ntrvsta-fcgi in {BUILDDIR}: build first, or set builddir")
    raise SystemExit(99)

SECRET = "test-secret-7f3a9c"
PATH = "/webhooks/ntrvsta"
AUTO = object()  # "what a correct request would have"
SANITIZER_ENV = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}


def sanitized():
    """Are the programs built with a sanitizer? Their memory says nothing then."""
    with open(FCGI, "rb") as f:
        program = f.read()
    return b"__asan_init" in program or b"__tsan_init" in program


def built_in():
    """Were the programs built with the dashboard?"""
    return b"#define HAVE_DASHBOARD 1" in read_file(os.path.join(BUILDDIR, "config.h"))


def event(name="session.completed", **data):
    """The body of an event, as compact JSON."""
    body = {"event": name, "timestamp": "2026-03-15T15:00:00Z", "data": data}
    return json.dumps(body, separators=(",", ":")).encode()


def sign(body, secret=SECRET):
    key = secret if isinstance(secret, bytes) else secret.encode()
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def wait_for(predicate, timeout=10, what="the condition"):
    """Wait until PREDICATE returns something true, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{timeout} s over, and still not: {what}")
        time.sleep(0.005)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def web_user():
    """Root's web servers run the program as this user; None where the tests are not root's."""
    if os.geteuid() != 0:
        return None
    for name in ("www-data", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def name_root(conf):
    """In a file that `ntrvsta init` wrote: root's handlers run as root, who has to be asked for."""
    text = read_file(conf)
    if os.geteuid() == 0:
        with open(conf, "wb") as f:
            f.write(text.replace(b"\nuser = ", b"\nuser = root "))


def alive(pid):
    """Is PID a process that runs (and no zombie)?"""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def peak_kib_of(pid):
    """The most memory that process PID had resident so far. (What wait4() tells of a child begins with its parent's.)"""
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))


def processes_of(folder):
    """The processes whose command line, environment or working directory names FOLDER."""
    needle = os.fsencode(folder)
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            seen = os.fsencode(os.readlink(f"/proc/{pid}/cwd"))
            for name in ("cmdline", "environ"):
                seen += b"\0" + read_file(f"/proc/{pid}/{name}")
        except OSError:
            continue
        if needle in seen and alive(pid):
            found.append(int(pid))
    return found


class Response:
    """The answer of a CGI program, or of a web server."""

    def __init__(self, status, headers, body, stderr=b"", exit_code=None, peak_kib=None):
        self.status = status
        self.headers = headers  # names in lower case
        self.body = body
        self.stderr = stderr
        self.exit_code = exit_code
        self.peak_kib = peak_kib

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json.get("code")

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body!r} stderr {self.stderr!r}>"


def parse_response(raw, **more):
    """CGI's answer: header lines, an empty line, the body."""
    head, gap, body = raw.partition(b"\r\n\r\n")
    if not gap:
        raise AssertionError(f"no CGI response: {raw!r} {more}")
    headers = {}
    for line in head.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise AssertionError(f"no header line: {line!r}")
        headers[name.lower()] = value.strip()
    status = int(headers.pop("status", "200").split()[0])
    return Response(status, headers, body, **more)


class Site:
    """SETTINGS is {section: {key: value}}, laid over the least that is needed. HANDLERS is {name:
    shell script}. With INIT, `ntrvsta init` makes the folder."""

    def __init__(self, settings=None, handlers=None, init=False, secret=SECRET, parent=None):
        self.dir = tempfile.mkdtemp(prefix="ntrvsta-test-", dir=parent)
        os.chmod(self.dir, 0o755)  # web servers look into it as another user
        self.root = os.path.join(self.dir, "site")
        self.conf = os.path.join(self.root, "ntrvsta.conf")
        self.secret_file = os.path.join(self.root, "secret")
        self.handlers = os.path.join(self.root, "handlers")
        self.state = os.path.join(self.root, "state")
        self.db_file = os.path.join(self.state, "ntrvsta.db")
        self.out = os.path.join(self.dir, "out")  # where handlers of tests write
        self.fcgi, self.tool_path = FCGI, TOOL
        self.user = None  # whom the site belongs to, and who runs the programs, where not us
        self.secret = secret
        self.children = []
        atexit.register(self.close)
        try:
            self._make(settings, handlers, init, secret)
        except BaseException:
            self.close()
            raise

    def _make(self, settings, handlers, init, secret):
        os.mkdir(self.out)
        os.chmod(self.out, 0o777)
        if init:
            subprocess.run([TOOL, "init", self.root], check=True, capture_output=True,
                           stdin=subprocess.DEVNULL, env=self.environment(), timeout=60)
            self.secret = read_file(self.secret_file).decode().strip()
            shutil.rmtree(self.handlers)
        else:
            os.mkdir(self.root)
            os.mkdir(self.state, 0o700)
            self.write_secret(secret)
        os.mkdir(self.handlers)
        self.settings = {"source ntrvsta": {"path": PATH, "secret_file": "secret"}}
        if os.geteuid() == 0:
            self.settings["handlers"] = {"user": "root"}  # who has to be asked for
        self.configure(settings or {})
        for name, script in (handlers or {}).items():
            self.handler(name, script)

    # --- what it is made of ---

    def configure(self, settings):
        """Lay SETTINGS over the present ones; a value of None takes a key out."""
        for section, keys in settings.items():
            self.settings.setdefault(section, {}).update(keys)
        lines = []
        for section, keys in self.settings.items():
            lines.append(f"[{section}]")
            lines += [f"{k} = {v}" for k, v in keys.items() if v is not None]
        self.write_config("\n".join(lines) + "\n")

    def write_config(self, text):
        self._replace(self.conf, text if isinstance(text, bytes) else text.encode(), 0o644)

    def write_secret(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self._replace(self.secret_file, data + b"\n", 0o600)

    def _replace(self, path, data, mode):
        """In one step, as an editor would; the new file belongs to whom the folder belongs to."""
        with open(path + ".new", "wb") as f:
            os.fchmod(f.fileno(), mode)
            f.write(data)
        owner = os.stat(os.path.dirname(path))
        if os.geteuid() == 0:
            os.chown(path + ".new", owner.st_uid, owner.st_gid)
        os.rename(path + ".new", path)

    def handler(self, name, script, mode=0o755):
        """Write handlers/NAME, a shell script unless it brings its own #!. $OUT is self.out."""
        path = os.path.join(self.handlers, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not script.startswith("#!"):
            script = f"#!/bin/sh\nOUT='{self.out}'\n{script}\n"
        with open(path, "w") as f:
            f.write(script)
        os.chmod(path, mode)
        return path

    def output(self, name, timeout=10):
        """What a handler wrote to $OUT/NAME (and put there in one step), once it is there."""
        path = os.path.join(self.out, name)
        wait_for(lambda: os.path.exists(path), timeout, f"a handler wrote {name}\n{self.logs()}")
        return read_file(path)

    def install(self):
        """Copy the programs into the site, where a web server's user can run them, and give that
        user the site."""
        for name in ("ntrvsta-fcgi", "ntrvsta"):
            shutil.copy(os.path.join(BUILDDIR, name), os.path.join(self.dir, name))
        self.fcgi, self.tool_path = (os.path.join(self.dir, n) for n in ("ntrvsta-fcgi", "ntrvsta"))
        self.user = user = web_user()
        if user:
            self.configure({"handlers": {"user": None}})
            for folder, _, files in os.walk(self.root):
                for path in [folder, *(os.path.join(folder, f) for f in files)]:
                    os.chown(path, user.pw_uid, user.pw_gid)

    def as_user(self):
        """Arguments for subprocess that make a program run as the site's owner."""
        if not self.user:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def environment(self, more=None):
        """All that the programs get to see."""
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "NTRVSTA_CONF": self.conf, **SANITIZER_ENV, **(more or {})}

    def logs(self):
        """What the dispatcher and the tests' web servers wrote, for the message of a failed test."""
        return "\n".join(f"{name}: {text[-4000:]}" for name, text in self.whole_logs())

    def whole_logs(self):
        for folder in filter(os.path.isdir, (self.state, self.dir)):
            for name in sorted(os.listdir(folder)):
                if name.endswith(".log"):
                    yield name, read_file(os.path.join(folder, name)).decode(errors="replace")

    # --- the program as plain CGI ---

    def request(self, body=b"", *, method="POST", path=PATH, script="", query="", signature=AUTO,
                length=AUTO, content_type="application/json", headers=None, unset=(), env=None):
        """The parameters of a request, as a web server sets them."""
        params = {
            "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "test",
            "SERVER_NAME": "localhost", "SERVER_PORT": "80", "REMOTE_ADDR": "127.0.0.1",
            "REQUEST_METHOD": method, "SCRIPT_NAME": script, "PATH_INFO": path, "QUERY_STRING": query,
            "REQUEST_URI": script + (path or "") + ("?" + query if query else ""),
            "CONTENT_LENGTH": str(len(body)) if length is AUTO else length,
            "CONTENT_TYPE": content_type,
            "HTTP_X_NTRVSTA_SIGNATURE": sign(body, self.secret) if signature is AUTO else signature,
        }
        for name, value in (headers or {}).items():
            params["HTTP_" + name.upper().replace("-", "_")] = value
        params.update(env or {})
        return {k: v for k, v in params.items() if v is not None and k not in unset}

    def start_cgi(self, body=b"", stdin=subprocess.PIPE, **how):
        """Start a CGI call and leave the rest to the caller."""
        return subprocess.Popen([self.fcgi], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment(self.request(body, **how)), cwd="/")

    def cgi(self, body=b"", *, send=None, timeout=60, **how):
        """One call of the program as plain CGI. SEND: these bytes arrive instead of BODY."""
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            stdin.write(body if send is None else send)
            stdin.seek(0)
            child = subprocess.Popen([self.fcgi], stdin=stdin, stdout=out, stderr=err,
                                     env=self.environment(self.request(body, **how)), cwd="/", **self.as_user())
            status, peak_kib = reap(child, timeout)
            out.seek(0)
            err.seek(0)
            return parse_response(out.read(), stderr=err.read(), exit_code=status, peak_kib=peak_kib)

    # --- the tool ---

    def tool(self, *args, check=True, stdin=b"", timeout=60, env=None, text=True):
        """Run `ntrvsta ARGS`. The finished process, or what it printed as JSON where --json is asked for."""
        done = subprocess.run([self.tool_path, *args], input=stdin, capture_output=True, timeout=timeout,
                              env=self.environment(env), cwd=self.dir, **self.as_user())
        if check and done.returncode != 0:
            raise AssertionError(f"ntrvsta {' '.join(args)}: exit {done.returncode}: {done.stderr!r}")
        if check and "--json" in args:
            return json.loads(done.stdout)
        if text:
            done.stdout, done.stderr = (b.decode(errors="surrogateescape") for b in (done.stdout, done.stderr))
        return done

    def dispatch_once(self, timeout=120):
        return self.tool("dispatch", "--once", timeout=timeout)

    def start_dispatcher(self, env=None):
        """`ntrvsta dispatch` in the background, once it holds the lock."""
        log = open(os.path.join(self.dir, "dispatch.log"), "ab")
        with log:
            child = self.spawn([self.tool_path, "dispatch"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               env=self.environment(env), **self.as_user())
        wait_for(lambda: self.dispatcher_pid() == child.pid or child.poll() is not None, 10, "a dispatcher")
        if child.poll() is not None:
            raise AssertionError(f"the dispatcher ended: {self.logs()}")
        return child

    def dispatcher_pid(self):
        """Of the dispatcher that holds the lock now; None where none does."""
        try:
            pid = int(read_file(os.path.join(self.state, "dispatch.lock")).split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if alive(pid) else None

    def spawn(self, argv, **how):
        """A background process that close() ends."""
        child = subprocess.Popen(argv, **how)
        self.children.append(child)
        return child

    # --- the store, read from outside ---

    def query(self, sql, *args):
        """Rows of a SELECT; none where there is no database yet."""
        if not os.path.exists(self.db_file):
            return []
        with sqlite3.connect(self.db_file, timeout=20) as db:
            rows = db.execute(sql, args).fetchall()
        db.close()
        return rows

    def stored(self):
        """The events on disk in order of arrival: (id, source, event, body)."""
        return [(i, s, e, bytes(b) if not isinstance(b, str) else b.encode())
                for i, s, e, b in self.query("SELECT id, source, event, body FROM event ORDER BY seq")]

    # --- the end ---

    def leftovers(self):
        """Processes that still work for this site."""
        return processes_of(self.dir)

    def _kill_leftovers(self):
        pids = self.leftovers()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not pids

    def close(self):
        atexit.unregister(self.close)
        for child in self.children:
            stop(child)
        wait_for(self._kill_leftovers, 10, "the site's processes are gone")
        complaints = [line for _, text in self.whole_logs() for line in text.splitlines()
                      if "Sanitizer" in line or ": runtime error: " in line]
        shutil.rmtree(self.dir, ignore_errors=True)
        if complaints:
            raise AssertionError("a sanitizer complained: " + "; ".join(complaints))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def reap(child, timeout):
    """Wait for CHILD: its exit status (negative: the signal) and its peak of resident memory."""
    deadline = time.monotonic() + timeout
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode, usage.ru_maxrss
        if time.monotonic() > deadline:
            child.kill()
            child.wait()
            raise AssertionError(f"the program still runs after {timeout} s")
        time.sleep(0.001)


def stop(child, number=signal.SIGTERM, timeout=10):
    """End CHILD gently, at last by force. Its exit status."""
    if child.poll() is None:
        child.send_signal(number)
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            pipe.close()
    return child.returncode
