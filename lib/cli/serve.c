/* ntrvsta serve: a real lighttpd in the foreground, to try things out. */
#include "lib/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"
#include "lib/cli/mounts.h"
#include "lib/cli/output.h"
#include "lib/delivery/wake.h"

#define READY_MS 10000 /* for each program to start */
#define POLL_MS 20     /* between two looks whether it has */

struct serve {
	const struct cli *cli;
	const struct conf *conf;
	char host[NI_MAXHOST], port[NI_MAXSERV]; /* numeric */
	struct sockaddr_storage address;
	socklen_t address_len;
	char *dir;      /* STATE/serve: configuration and address */
	char *link_dir; /* where the socket and a link to ntrvsta-fcgi have short names; DIR where that will do */
	int address_fd; /* STATE/serve/address, locked while we run */
	int signals;    /* a signalfd */
	sigset_t old_mask;
	pid_t lighttpd, dispatcher; /* 0: does not run */
	int stops;                  /* how often we were told to stop */
};

/* --- where it listens ------------------------------------------------------------------------ */

static bool split_address(const char *text, char *host, size_t size, const char **port)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;

	*port = colon ? colon + 1 : text;
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	} else if (memchr(text, ':', len)) { /* IPv6 without its brackets */
		return false;
	}
	snprintf(host, size, "%.*s", (int)len, len ? text : "127.0.0.1");
	if (len == 0)
		snprintf(host, size, "127.0.0.1");
	return (*port)[0] != '\0' && strlen(*port) == strspn(*port, "0123456789") && strtoul(*port, NULL, 10) <= 65535;
}

static bool resolve(struct serve *s, const char *listen_on)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found = NULL;
	char host[NI_MAXHOST];
	const char *port;
	int error;

	if (!split_address(listen_on, host, sizeof host, &port)) {
		cli_usage(s->cli, "--listen wants HOST:PORT, such as 127.0.0.1:8080, not '%s'", listen_on);
		return false;
	}
	error = getaddrinfo(host, port, &hints, &found);
	if (error) {
		cli_usage(s->cli, "--listen %s: %s", listen_on, gai_strerror(error));
		return false;
	}
	memcpy(&s->address, found->ai_addr, found->ai_addrlen);
	s->address_len = found->ai_addrlen;
	freeaddrinfo(found);
	return true;
}

/* Is the address free? Port 0 takes any that is: then it is known afterwards which. */
static bool probe(struct serve *s)
{
	int fd = socket(s->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, error = errno;
	bool is_free;

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	is_free = fd >= 0 && bind(fd, (struct sockaddr *)&s->address, s->address_len) == 0 && listen(fd, 1) == 0 &&
	          getsockname(fd, (struct sockaddr *)&s->address, &s->address_len) == 0;
	if (!is_free)
		error = errno;
	if (fd >= 0)
		close(fd);
	getnameinfo((struct sockaddr *)&s->address, s->address_len, s->host, sizeof s->host, s->port, sizeof s->port,
	            NI_NUMERICHOST | NI_NUMERICSERV);
	if (!is_free && error == EADDRINUSE)
		cli_fail(s->cli, "port %s on %s is taken: --listen 127.0.0.1:PORT takes another, port 0 any that is free", s->port, s->host);
	else if (!is_free)
		cli_fail(s->cli, "can't listen on port %s of %s: %s", s->port, s->host, strerror(error));
	return is_free;
}

/* As a browser wants it; from this machine, also where we listen on all addresses. */
static char *base_url(const struct serve *s)
{
	const char *host = strcmp(s->host, "0.0.0.0") == 0 ? "127.0.0.1" : strcmp(s->host, "::") == 0 ? "::1" : s->host;

	return xasprintf(strchr(host, ':') ? "http://[%s]:%s" : "http://%s:%s", host, s->port);
}

/* --- the address, for `ntrvsta send` ---------------------------------------------------------- */

static char *address_path(const struct conf *conf)
{
	return xasprintf("%s/serve/address", conf->state_dir);
}

char *cli_serve_url(const struct conf *conf)
{
	char *path = address_path(conf), *url = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct buf text = BUF_INIT;

	free(path);
	if (fd < 0)
		return NULL;
	/* Only a lock that is held tells: after kill -9 the file is still there. */
	if (flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK && fdio_read_all(fd, 4096, &text) == 0 && text.len)
		url = xstrndup(text.data, strcspn(text.data, "\n"));
	close(fd);
	buf_free(&text);
	return url;
}

static bool lock_address(struct serve *s)
{
	char *path = address_path(s->conf), *url;

	s->address_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->address_fd < 0) {
		cli_fail(s->cli, "%s: %s", path, strerror(errno));
	} else if (flock(s->address_fd, LOCK_EX | LOCK_NB)) {
		url = cli_serve_url(s->conf);
		cli_fail(s->cli, "runs already, at %s", url ? url : "an address of its own");
		free(url);
		close(s->address_fd);
		s->address_fd = -1;
	}
	free(path);
	return s->address_fd >= 0;
}

static bool write_address(struct serve *s)
{
	char *url = base_url(s);
	bool written = ftruncate(s->address_fd, 0) == 0 && fdio_write_all(s->address_fd, url, strlen(url)) == 0;

	if (!written)
		cli_fail(s->cli, "%s/address: %s", s->dir, strerror(errno));
	free(url);
	return written;
}

/* --- lighttpd's configuration ------------------------------------------------------------------ */

/* A Unix socket's path is short, and lighttpd cuts a program's path at blanks: where the names
 * would not do, a temporary folder with better ones. */
static bool choose_link_dir(struct serve *s, const char *program)
{
	const char *tmp = getenv("TMPDIR");

	if (strlen(s->dir) + strlen("/fcgi.sock") <= MOUNT_SOCKET_MAX && !strpbrk(program, " \t")) {
		s->link_dir = xstrdup(s->dir);
		return true;
	}
	if (!tmp || tmp[0] != '/' || strpbrk(tmp, " \t") || strlen(tmp) > MOUNT_SOCKET_MAX / 2)
		tmp = "/tmp";
	s->link_dir = xasprintf("%s/ntrvsta-serve-XXXXXX", tmp);
	if (mkdtemp(s->link_dir))
		return true;
	cli_fail(s->cli, "%s: can't be made: %s", s->link_dir, strerror(errno));
	free(s->link_dir);
	s->link_dir = NULL;
	return false;
}

/* The path of ntrvsta-fcgi that lighttpd gets. */
static char *link_program(const struct serve *s, const char *program)
{
	char *link;

	if (!strpbrk(program, " \t"))
		return xstrdup(program);
	link = fdio_resolve(s->link_dir, "ntrvsta-fcgi");
	if (symlink(program, link) == 0)
		return link;
	cli_fail(s->cli, "%s: can't be made: %s", link, strerror(errno));
	free(link);
	return NULL;
}

static void add_setting(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "%s = ", name);
	mount_add_string(out, value);
	buf_addc(out, '\n');
}

static char *write_config(struct serve *s, const char *program)
{
	char *path = fdio_resolve(s->dir, "lighttpd.conf"), *socket_path = fdio_resolve(s->link_dir, "fcgi.sock");
	char *bind_to = xasprintf(strchr(s->host, ':') ? "[%s]" : "%s", s->host);
	struct buf text = BUF_INIT;

	buf_adds(&text, "# Written by ntrvsta serve, each time anew.\n");
	add_setting(&text, "server.bind", bind_to);
	buf_addf(&text, "server.port = %s\n", s->port);
	add_setting(&text, "server.document-root", s->dir);
	buf_adds(&text, "server.modules = ( \"mod_fastcgi\" )\nfastcgi.server = ( ");
	mount_add_lighttpd(&text, "/", program, s->conf->path, socket_path);
	buf_adds(&text, " )\n");
	if (fdio_replace_file(path, 0600, text.data, text.len)) {
		cli_fail(s->cli, "%s: can't be written: %s", path, strerror(errno));
		free(path);
		path = NULL;
	}
	free(socket_path);
	free(bind_to);
	buf_free(&text);
	return path;
}

/* Debian has it in /usr/sbin, which is not in every user's PATH. */
static char *find_lighttpd(void)
{
	const char *path = getenv("PATH");
	char *dirs = xasprintf("%s:/usr/local/sbin:/usr/sbin:/sbin", path ? path : ""), *dir, *rest = dirs, *found = NULL;

	while (!found && (dir = strsep(&rest, ":"))) {
		if (dir[0] != '/')
			continue;
		found = fdio_resolve(dir, "lighttpd");
		if (access(found, X_OK)) {
			free(found);
			found = NULL;
		}
	}
	free(dirs);
	return found;
}

/* --- the two programs ----------------------------------------------------------------------- */

/* In a process group of its own, so that Ctrl-C reaches us alone and each is told once; gone
 * with us, whatever ends us. */
static pid_t start(const struct serve *s, char *const argv[])
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0) {
		if (pid < 0)
			cli_fail(s->cli, "%s: can't be started: %s", argv[0], strerror(errno));
		return pid < 0 ? 0 : pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
	execv(argv[0], argv);
	fprintf(stderr, "ntrvsta serve: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void reap(struct serve *s)
{
	siginfo_t ended = { 0 };

	while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid) {
		/* Before it is reaped, while its number is still its own: a lighttpd that was killed leaves
		 * ntrvsta-fcgi behind, in its group. */
		if (ended.si_pid == s->lighttpd) {
			kill(-s->lighttpd, SIGTERM);
			s->lighttpd = 0;
		} else if (ended.si_pid == s->dispatcher) {
			s->dispatcher = 0;
		}
		waitpid(ended.si_pid, NULL, 0);
		ended.si_pid = 0;
	}
}

static void kill_both(const struct serve *s, int number)
{
	if (s->lighttpd)
		kill(s->lighttpd, number);
	if (s->dispatcher)
		kill(s->dispatcher, number);
}

/* Wait for a signal, at most TIMEOUT_MS (-1: for ever), and note what it says. */
static void wait_signal(struct serve *s, int timeout_ms)
{
	struct pollfd p = { .fd = s->signals, .events = POLLIN };
	struct signalfd_siginfo info;

	if (poll(&p, 1, timeout_ms) <= 0 || read(s->signals, &info, sizeof info) != sizeof info)
		return;
	if (info.ssi_signo == SIGCHLD)
		reap(s);
	else
		s->stops++;
}

static bool listens(const struct serve *s)
{
	int fd = socket(s->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool connected = fd >= 0 && connect(fd, (const struct sockaddr *)&s->address, s->address_len) == 0;

	if (fd >= 0)
		close(fd);
	return connected;
}

static bool dispatches(const struct serve *s)
{
	return wake_is_read_now(s->conf->state_dir);
}

static bool wait_ready(struct serve *s, const pid_t *pid, bool (*ready)(const struct serve *s))
{
	int64_t deadline_ms = clock_mono_ms() + READY_MS;

	while (*pid && !s->stops && clock_mono_ms() < deadline_ms) {
		if (ready(s))
			return true;
		wait_signal(s, POLL_MS);
	}
	return false;
}

/* Before lighttpd, so that ntrvsta-fcgi finds one and starts none that would outlive us. Where
 * one runs already it may go on. */
static bool start_dispatcher(struct serve *s)
{
	char *program = fdio_find_program("ntrvsta");
	char *argv[] = { program, (char *)"dispatch", (char *)"--config", s->conf->path, NULL };

	if (dispatches(s) || !program) {
		free(program);
		return true;
	}
	s->dispatcher = start(s, argv);
	free(program);
	if (wait_ready(s, &s->dispatcher, dispatches) || dispatches(s))
		return true;
	if (!s->stops)
		cli_fail(s->cli, "the dispatcher did not start; what it said is above");
	return false;
}

static bool start_lighttpd(struct serve *s, const char *lighttpd, const char *config)
{
	char *argv[] = { (char *)lighttpd, (char *)"-D", (char *)"-f", (char *)config, NULL };

	s->lighttpd = start(s, argv);
	if (wait_ready(s, &s->lighttpd, listens))
		return true;
	if (!s->stops)
		cli_fail(s->cli, s->lighttpd ? "lighttpd does not answer" : "lighttpd has ended; what it said is above");
	return false;
}

/* Once gently, so that what runs is finished; at the second request at once. */
static void stop_both(struct serve *s)
{
	int asked = 0;

	while (s->lighttpd || s->dispatcher) {
		if (asked == 0 || s->stops > asked) {
			kill_both(s, asked == 0 ? SIGTERM : SIGKILL);
			asked = s->stops > 1 ? s->stops : 1;
		}
		wait_signal(s, -1);
	}
}

/* --- the command ---------------------------------------------------------------------------- */

static void say_ready(const struct serve *s)
{
	char *url = base_url(s), *dashboard = NULL;
	struct json_object *doc, *endpoints;
	size_t i;

	if (!cli_no_dashboard(s->conf))
		dashboard = xasprintf("%s%s/dashboard/", url, s->conf->web_base);
	if (s->cli->json) {
		doc = json_object_new_object();
		endpoints = json_object_new_array();
		for (i = 0; i < s->conf->nsources; i++) {
			char *endpoint = xasprintf("%s%s%s", url, s->conf->web_base, s->conf->sources[i].path);

			json_object_array_add(endpoints, cli_json_string(endpoint));
			free(endpoint);
		}
		json_object_object_add(doc, "url", cli_json_string(url));
		json_object_object_add(doc, "endpoints", endpoints);
		json_object_object_add(doc, "dashboard", dashboard ? cli_json_string(dashboard) : NULL);
		json_object_object_add(doc, "config", cli_json_string(s->conf->path));
		cli_print_json(doc);
	} else {
		for (i = 0; i < s->conf->nsources; i++)
			printf("Receiving at %s%s%s\n", url, s->conf->web_base, s->conf->sources[i].path);
		if (dashboard)
			printf("The dashboard is at %s\n"
			       "Its key:                  ntrvsta keys create --org default --scope admin\n", dashboard);
		printf("Try in another terminal:  ntrvsta send session.completed\n"
		       "and see what came of it:  ntrvsta logs\n"
		       "Ctrl-C stops.\n");
	}
	fflush(stdout); /* nothing more follows */
	free(dashboard);
	free(url);
}

/* Taken from a descriptor while we wait. One that our parent ignores stays ignored: nohup. */
static void block_signals(struct serve *s)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action;
	sigset_t set;
	size_t i;

	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(&set, numbers[i]);
	sigprocmask(SIG_BLOCK, &set, &s->old_mask);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int serve_with(struct serve *s, const char *lighttpd, const char *config)
{
	bool ready;

	block_signals(s);
	ready = start_dispatcher(s) && start_lighttpd(s, lighttpd, config) && write_address(s);
	if (ready)
		say_ready(s);
	while (ready && s->lighttpd && !s->stops)
		wait_signal(s, -1);
	if (ready && !s->stops) {
		cli_fail(s->cli, "lighttpd has ended; what it said is above");
		ready = false;
	}
	stop_both(s);
	close(s->signals);
	return ready || s->stops ? CLI_OK : CLI_FAILED;
}

static void remove_traces(struct serve *s)
{
	static const char *const names[] = { "ntrvsta-fcgi", "fcgi.sock-0", "fcgi.sock" };
	char *path;
	size_t i;

	for (i = 0; s->link_dir && i < sizeof names / sizeof names[0]; i++) {
		path = fdio_resolve(s->link_dir, names[i]);
		unlink(path);
		free(path);
	}
	if (s->link_dir && strcmp(s->link_dir, s->dir) != 0)
		rmdir(s->link_dir);
	if (s->address_fd >= 0) {
		if (ftruncate(s->address_fd, 0))
			cli_note(s->cli, "%s/address: %s", s->dir, strerror(errno));
		close(s->address_fd);
	}
}

static int serve(struct serve *s, const char *lighttpd, const char *program)
{
	char *linked = NULL, *config = NULL;
	int status = CLI_FAILED;

	s->dir = xasprintf("%s/serve", s->conf->state_dir);
	if (mkdir(s->dir, 0700) && errno != EEXIST) {
		status = cli_fail(s->cli, "%s: can't be made: %s", s->dir, strerror(errno));
		goto out;
	}
	if (!lock_address(s) || !probe(s) || !choose_link_dir(s, program))
		goto out;
	linked = link_program(s, program);
	config = linked ? write_config(s, linked) : NULL;
	if (config)
		status = serve_with(s, lighttpd, config);
out:
	remove_traces(s);
	free(linked);
	free(config);
	free(s->dir);
	free(s->link_dir);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *listen_on = "127.0.0.1:8080";
	const struct cli_option options[] = { { "listen", &listen_on, NULL } };
	struct serve s = { .cli = cli, .address_fd = -1 };
	char *lighttpd, *program;
	struct conf *conf;
	int status = CLI_FAILED;

	argc = cli_parse(cli, options, 1, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (argc > 0)
		return cli_usage(cli, "takes no operand, such as '%s'", argv[0]);
	if (!resolve(&s, listen_on))
		return CLI_USAGE;
	lighttpd = find_lighttpd();
	program = fdio_find_program("ntrvsta-fcgi");
	conf = cli_load_conf(cli);
	s.conf = conf;
	if (!lighttpd)
		cli_fail(cli, "lighttpd is missing: apt-get install lighttpd");
	else if (!program)
		cli_fail(cli, "ntrvsta-fcgi is neither beside this program nor in " NTRVSTA_SBINDIR);
	else if (conf && cli_may_change_state(cli, conf))
		status = serve(&s, lighttpd, program);
	conf_unref(conf);
	free(lighttpd);
	free(program);
	return status;
}

const struct cli_command cli_serve = {
	.name = "serve",
	.summary = "run lighttpd with ntrvsta-fcgi in the foreground, to try things out",
	.help =
		"Usage: ntrvsta serve [--listen HOST:PORT]\n"
		"\n"
		"Runs a real lighttpd with ntrvsta-fcgi mounted, and a dispatcher where none runs yet, until\n"
		"Ctrl-C, which stops both (a second one at once). What they log appears here. 'ntrvsta send'\n"
		"finds the address by itself. Needs lighttpd: apt-get install lighttpd\n"
		"\n"
		"  --listen HOST:PORT  where to listen (127.0.0.1:8080); port 0 takes any that is free\n"
		"\n"
		"Examples:\n"
		"  ntrvsta serve\n"
		"  ntrvsta serve --listen 127.0.0.1:0 --json\n",
	.run = run,
};
