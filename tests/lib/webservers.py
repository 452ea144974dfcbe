"""Real web servers on a free loopback port, configured with the very files of conf/.

    with WebServer.named("nginx")(site, prefix="/hooks") as server:
        answer = server.post(body)

Each runs from the site's temporary folder, as whoever runs the tests; root's servers drop to
www-data, as Debian's do. What the shipped file needs around it is Debian's stock configuration
without its fixed paths.
"""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess

import ntrvsta

APACHE_MODULES = "/usr/lib/apache2/modules"
SBIN = "/usr/sbin:/usr/local/sbin:/sbin"


def program(name):
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":" + SBIN)


def shipped(name, values):
    """The text of conf/NAME with the paths in it replaced. Each must be there."""
    text = ntrvsta.read_file(os.path.join(ntrvsta.SRCDIR, "conf", name)).decode()
    for old, new in values.items():
        if old not in text:
            raise AssertionError(f"conf/{name} does not mention {old}")
    pattern = "|".join(re.escape(old) for old in sorted(values, key=len, reverse=True))
    return re.sub(pattern, lambda m: values[m.group()], text)


class WebServer:
    """One mount. PREFIX, where given, is where the program is mounted instead of at the root."""

    name = None      # for people and for named()
    needs = ()       # programs and files without which it cannot run
    base = False     # the program can't tell the prefix from the request: wants `[web] base`

    def __init__(self, site, prefix="", fcgi=None, env=None):
        self.site = site
        self.prefix = prefix
        self.mount = prefix or "/webhooks"  # what the shipped file's /webhooks becomes
        self.path = prefix + ntrvsta.PATH
        self.user = ntrvsta.web_user()
        self.env = env or {}
        self.port = None
        self.dir = os.path.join(site.dir, "server")
        self.socket = os.path.join(self.dir, "fcgi.sock")
        self.children = []
        self.fcgi = fcgi or site.fcgi

    @classmethod
    def missing(cls):
        """What is not installed, or None."""
        for need in cls.needs:
            if not (os.path.exists(need) if need.startswith("/") else program(need)):
                return need
        return None

    @staticmethod
    def named(name):
        return next(c for c in MOUNTS if c.name == name)

    # --- life ---

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        os.makedirs(self.dir, exist_ok=True)
        for name in ("www", "tmp"):
            os.makedirs(os.path.join(self.dir, name), exist_ok=True)
        if self.user:
            for path in (self.dir, os.path.join(self.dir, "tmp")):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
        for _ in range(3):  # another process may take the port first
            self.port = ntrvsta.free_port()
            self.run()
            ntrvsta.wait_for(lambda: self.answers() or not self.running(), 20, f"{self.name} listens\n{self.logs()}")
            if self.running():
                return
            self.stop()
        raise AssertionError(f"{self.name} does not start:\n{self.logs()}")

    def run(self):
        raise NotImplementedError

    def spawn(self, argv, **how):
        with open(os.path.join(self.site.dir, "server.log"), "ab") as log:
            child = self.site.spawn(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **how)
        self.children.append(child)
        return child

    def spawn_fcgi(self):
        """The program on a socket of its own, as conf/nginx.conf and apache-proxy-fcgi.conf say it."""
        as_user = ["-u", self.user.pw_name, "-g", str(self.user.pw_gid)] if self.user else []
        child = self.spawn([program("spawn-fcgi"), "-n", "-s", self.socket, "-M", "0660", *as_user, "--", self.fcgi],
                           env=self.site.environment(self.env))
        ntrvsta.wait_for(lambda: os.path.exists(self.socket) or child.poll() is not None, 10, "spawn-fcgi's socket")
        return child

    def running(self):
        return all(child.poll() is None for child in self.children)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        for child in reversed(self.children):
            ntrvsta.stop(child, signal.SIGTERM, 30)
        self.children.clear()
        if os.path.exists(self.socket):
            os.unlink(self.socket)

    def logs(self):
        text = [self.site.logs()]
        for name in os.listdir(self.dir) if os.path.isdir(self.dir) else ():
            if name.endswith(".log"):
                text.append(ntrvsta.read_file(os.path.join(self.dir, name))[-4000:].decode(errors="replace"))
        return "\n".join(text)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    # --- talking to it ---

    def send(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            names = {k.lower(): v for k, v in answer.getheaders()}
            return ntrvsta.Response(answer.status, names, answer.read())
        finally:
            connection.close()

    def post(self, body, path=None, headers=None, **how):
        """A signed event."""
        headers = {"Content-Type": "application/json",
                   "X-NTRVSTA-Signature": ntrvsta.sign(body, self.site.secret), **(headers or {})}
        return self.send("POST", path or self.path, body, headers, **how)


class Lighttpd(WebServer):
    snippet = None
    needs = ("lighttpd",)

    # The http-parseopts are those of Debian's lighttpd.conf.
    FRAME = """\
server.modules = ( "mod_indexfile", "mod_access", "mod_alias", "mod_redirect" )
server.document-root = "{dir}/www"
server.upload-dirs = ( "{dir}/tmp" )
server.errorlog = "{dir}/error.log"
server.bind = "127.0.0.1"
server.port = {port}
{user}
server.http-parseopts = (
  "header-strict" => "enable", "host-strict" => "enable", "host-normalize" => "enable",
  "url-normalize-unreserved" => "enable", "url-normalize-required" => "enable",
  "url-ctrls-reject" => "enable", "url-path-2f-decode" => "enable", "url-path-dotseg-remove" => "enable",
)
{snippet}
"""

    def values(self):
        return {"/webhooks": self.mount, "/usr/local/sbin/ntrvsta-fcgi": self.fcgi,
                "/etc/ntrvsta/ntrvsta.conf": self.site.conf}

    def run(self):
        user = self.user and f'server.username = "{self.user.pw_name}"\nserver.groupname = "{self.user.pw_name}"'
        text = self.FRAME.format(dir=self.dir, port=self.port, user=user or "",
                                 snippet=shipped(self.snippet, self.values()))
        # What Debian's service gives it: nearly nothing.
        self.spawn([program("lighttpd"), "-D", "-f", self.write("lighttpd.conf", text)],
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **ntrvsta.SANITIZER_ENV, **self.env})


class LighttpdFastCGI(Lighttpd):
    name = "lighttpd FastCGI"
    snippet = "lighttpd-fastcgi.conf"

    def values(self):
        return {**super().values(), "/run/lighttpd/ntrvsta-fcgi.sock": self.socket}


class LighttpdCGI(Lighttpd):
    name = "lighttpd CGI"
    snippet = "lighttpd-cgi.conf"


class Apache(WebServer):
    snippet = None
    modules = ()

    FRAME = """\
ServerRoot "{dir}"
ServerName localhost
DefaultRuntimeDir "{dir}/tmp"
PidFile "{dir}/apache.pid"
Mutex file:{dir}/tmp default
ErrorLog "{dir}/error.log"
Listen 127.0.0.1:{port}
{modules}
{user}
DocumentRoot "{dir}/www"
<Directory />
	Options FollowSymLinks
	AllowOverride None
	Require all denied
</Directory>
<Directory "{dir}/www">
	Require all granted
</Directory>
<FilesMatch "^\.ht">
	Require all denied
</FilesMatch>
{snippet}
"""

    def values(self):
        return {"/usr/local/sbin/ntrvsta-fcgi": self.fcgi, "/etc/ntrvsta/ntrvsta.conf": self.site.conf,
                "/webhooks": self.mount}

    def body(self):
        return shipped(self.snippet, self.values())

    def run(self):
        modules = ("mpm_event", "authz_core", "alias", "env", "mime", "dir", "setenvif", *self.modules)
        loads = "\n".join(f"LoadModule {m}_module {APACHE_MODULES}/mod_{m}.so" for m in modules)
        user = self.user and f"User {self.user.pw_name}\nGroup #{self.user.pw_gid}"
        text = self.FRAME.format(dir=self.dir, port=self.port, modules=loads, user=user or "", snippet=self.body())
        text += "TypesConfig /etc/mime.types\n" if os.path.exists("/etc/mime.types") else ""
        self.spawn([program("apache2"), "-DFOREGROUND", "-f", self.write("apache.conf", text)],
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C", **ntrvsta.SANITIZER_ENV, **self.env})


class ApacheFcgid(Apache):
    name = "Apache mod_fcgid"
    needs = ("apache2", APACHE_MODULES + "/mod_fcgid.so")
    snippet = "apache-fcgid.conf"
    modules = ("fcgid",)

    def body(self):
        return (f"FcgidIPCDir {self.dir}/tmp\nFcgidProcessTableFile {self.dir}/tmp/fcgid_shm\n"
                "FcgidConnectTimeout 20\n" + super().body())


class ApacheProxyFcgi(Apache):
    name = "Apache mod_proxy_fcgi"
    needs = ("apache2", "spawn-fcgi")
    base = True
    snippet = "apache-proxy-fcgi.conf"
    modules = ("proxy", "proxy_fcgi")

    def values(self):
        return {"ProxyPass /webhooks ": f"ProxyPass {self.mount} ", "/run/ntrvsta/fcgi.sock": self.socket}

    def run(self):
        self.spawn_fcgi()
        super().run()


class ApacheCGI(Apache):
    """A user's folder with an .htaccess, as on shared hosting."""

    name = "Apache mod_cgi"
    needs = ("apache2", APACHE_MODULES + "/mod_cgid.so")
    modules = ("cgid", "rewrite")

    def body(self):
        home = os.path.join(self.dir, "public_html")
        folder = os.path.join(home, self.prefix.strip("/"))
        os.makedirs(folder, exist_ok=True)
        shutil.copy(self.fcgi, os.path.join(folder, "ntrvsta.cgi"))
        if os.path.exists(self.site.tool_path):
            shutil.copy(self.site.tool_path, os.path.join(folder, "ntrvsta"))
        with open(os.path.join(folder, ".htaccess"), "w") as f:
            f.write(shipped("apache-cgi.htaccess", {"/home/me/ntrvsta/ntrvsta.conf": self.site.conf}))
        return (f'ScriptSock {self.dir}/tmp/cgisock\nAlias "/~me" "{home}"\n<Directory "{home}">\n'
                "\tAllowOverride All\n\tOptions MultiViews Indexes SymLinksIfOwnerMatch IncludesNoExec ExecCGI\n"
                "\tRequire all granted\n</Directory>\n")

    def __init__(self, site, prefix="", **more):
        super().__init__(site, prefix, **more)
        self.path = "/~me" + self.path


class Nginx(WebServer):
    name = "nginx"
    needs = ("nginx", "spawn-fcgi", "/etc/nginx/fastcgi_params")
    base = True
    upstream = ""       # replaces the shipped file's fastcgi_pass, for tests of kept connections
    params = "fastcgi_params"

    FRAME = """\
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
{user}
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
	access_log off;
	client_body_temp_path {dir}/tmp/body;
	proxy_temp_path {dir}/tmp/proxy;
	fastcgi_temp_path {dir}/tmp/fastcgi;
	uwsgi_temp_path {dir}/tmp/uwsgi;
	scgi_temp_path {dir}/tmp/scgi;
	{upstream}
	server {{
		listen 127.0.0.1:{port};
		root {dir}/www;
		{snippet}
	}}
}}
"""

    def values(self):
        return {"location /webhooks/": f"location {self.mount}/", "unix:/run/ntrvsta/fcgi.sock": self.pass_to(),
                "include fastcgi_params": "include /etc/nginx/" + self.params}

    def pass_to(self):
        return "unix:" + self.socket

    def http(self):
        return ""

    def run(self):
        self.spawn_fcgi()
        user = self.user and f"user {self.user.pw_name};"
        text = self.FRAME.format(dir=self.dir, port=self.port, user=user or "", upstream=self.http(),
                                 snippet=shipped("nginx.conf", self.values()))
        self.spawn([program("nginx"), "-c", self.write("nginx.conf", text), "-p", self.dir,
                    "-e", os.path.join(self.dir, "error.log")])


class NginxKeep(Nginx):
    """nginx that keeps its FastCGI connections open between requests."""

    name = "nginx, kept connections"

    def http(self):
        return f"upstream kept {{ server unix:{self.socket}; keepalive 32; }}\n\tfastcgi_keep_conn on;"

    def pass_to(self):
        return "kept"


MOUNTS = (LighttpdFastCGI, LighttpdCGI, ApacheFcgid, ApacheProxyFcgi, ApacheCGI, Nginx)
