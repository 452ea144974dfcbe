#include "lib/web/server.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/delivery/launch.h"
#include "lib/intake/committer.h"
#include "lib/web/exchange.h"
#include "lib/web/manage.h"

/* The answer is complete for the web server once nobody has its pipe open, whatever we do from
 * here on. The descriptor stays in use: no other file may land there. */
static void release_web_server(void)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
		close(STDOUT_FILENO);
	if (fd >= 0)
		close(fd);
}

/* A dispatcher that is started by this call has its environment, and lives on. */
static void forget_keys(void *ctx)
{
	(void)ctx;
	unsetenv("HTTP_X_NTRVSTA_API_KEY");
	unsetenv("HTTP_AUTHORIZATION");
	unsetenv("HTTP_COOKIE");
	unsetenv("HTTP_X_CSRF_TOKEN");
}

int server_run_cgi(struct conf *conf)
{
	struct limiter *limiter = NULL;
	struct intake_verdict verdict;
	struct store *store = NULL;
	struct stores *stores = NULL;
	struct exchange x;
	bool new_work = false, failed;
	int fd;

	memset(&x, 0, sizeof x);
	request_begin_cgi(&x.request);
	if (conf && (conf->web_rate_per_hour > 0 || conf->web_refused_per_hour > 0))
		limiter = limiter_open(conf->state_dir);
	x.refusals = conf ? refusals_new(conf->state_dir) : NULL;
	exchange_receive(&x, conf, limiter, &verdict);
	if (verdict.code != INTAKE_ACCEPTED && manage_admit(&x, &verdict)) {
		stores = stores_new();
		new_work = manage_serve(&x, stores, forget_keys, NULL); /* before a test may start one */
	} else {
		if (verdict.code == INTAKE_ACCEPTED) {
			/* Without a configuration there is a refusal. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
			store = commit_one(conf->store_path, &x.intake, &verdict);
			new_work = verdict.code == INTAKE_ACCEPTED && !x.intake.event.duplicate;
		}
		exchange_answer(&x, &verdict);
	}
	failed = x.request.failed;
	request_finish(&x.request, x.body_read ? 0 : SIZE_MAX, &fd);
	release_web_server();
	store_close(store);
	stores_free(stores);
	forget_keys(NULL); /* an event's sender has sent some */
	if (new_work)
		launch_or_wake(conf);
	limiter_close(limiter);
	refusals_free(x.refusals);
	conf_unref(conf);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
