/* Bytes on a connection: our look at the record headers decides whether libfcgi reads them, and it never waits for
 * more than that look said was there. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/web/exchange.h"
#include "lib/web/peek.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 65536

static struct conf *conf;

static void set_up(void)
{
	struct buf err = BUF_INIT;

	fuzz_be_quiet();
	conf = conf_load(fuzz_site(), &err);
	REQUIRE(conf && request_setup() == 0);
}

static void serve(int fd)
{
	struct intake_verdict verdict;
	struct exchange x;

	memset(&x, 0, sizeof x);
	if (request_begin_fcgi(&x.request, fd))
		return;
	exchange_receive(&x, conf, NULL, &verdict);
	exchange_answer(&x, &verdict);
	if (request_finish(&x.request, INPUT_MAX, &fd) != REQUEST_CLOSED)
		close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t announced = 0;
	int fds[2];

	if (size > INPUT_MAX)
		return 0;
	if (!conf)
		set_up();
	if (peek_request(data, size, &announced) != PEEK_WHOLE)
		return 0;
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	/* Nobody ends the input: whoever waits for more hangs, and that is found as well. */
	REQUIRE(write(fds[0], data, size) == (ssize_t)size);
	serve(fds[1]);
	close(fds[0]);
	return 0;
}
