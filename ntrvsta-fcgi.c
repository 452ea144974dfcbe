/* ntrvsta-fcgi: the program that the web server mounts. Set-up; the work is in lib/web. */
#include "config.h"

#include <errno.h>
#include <fcgiapp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/conf/conf.h"
#include "lib/web/request.h"
#include "lib/web/server.h"

/* A web server's socket is on 0; the three signals are read from a descriptor, so that none can
 * come at a bad moment. In place before libfcgi would install handlers of its own. */
static void set_up_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN); /* dispatchers that we start need nobody to reap them */
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Secrets and candidates' data are in memory: never in a core file. */
static void forbid_core_dumps(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
}

static struct conf *load_conf(void)
{
	struct buf err = BUF_INIT;
	struct conf *conf = conf_load(NULL, &err);

	if (!conf)
		log_error("not configured, every request is answered with 503: %s", buf_str(&err));
	buf_free(&err);
	if (!conf)
		return NULL;
	if (log_open("ntrvsta-fcgi", conf->log_level, conf->log_target))
		log_error("log %s: %s", conf->log_target, strerror(errno));
	if (log_open_security(conf->log_security))
		log_error("security log %s: %s", conf->log_security, strerror(errno));
	return conf;
}

/* Options come from a person at a terminal, never from a web server: CGI (RFC 3875, section 4.4)
 * may turn a query string into arguments. */
static int answer_options(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts(PACKAGE_STRING);
		return EXIT_SUCCESS;
	}
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		puts("ntrvsta-fcgi receives NTRVSTA's webhooks. A web server starts it, over FastCGI or as plain CGI;\n"
		     "it takes no options, and its configuration from $NTRVSTA_CONF. See ntrvsta-fcgi(8), and\n"
		     "`ntrvsta init` and `ntrvsta serve` in ntrvsta(1) to set it up and try it out.");
		return EXIT_SUCCESS;
	}
	fputs("ntrvsta-fcgi is started by a web server: try `ntrvsta serve`, or `ntrvsta-fcgi --help`.\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	fdio_open_std();
	umask(077);
	set_up_signals();
	if (request_setup())
		return EXIT_FAILURE;
	if (FCGX_IsCGI() && !getenv("GATEWAY_INTERFACE") && !getenv("REQUEST_METHOD"))
		return answer_options(argc, argv);
	forbid_core_dumps();
	log_open("ntrvsta-fcgi", LOG_LEVEL_INFO, "stderr");
	if (FCGX_IsCGI())
		return server_run_cgi(load_conf());
	raise_descriptor_limit();
	return server_run(STDIN_FILENO, load_conf());
}
