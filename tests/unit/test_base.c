#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/id.h"
#include "lib/base/log.h"
#include "lib/base/units.h"
#include "lib/base/xalloc.h"
#include "tests/unit/tap.h"

static void test_durations(void)
{
	static const struct { const char *text; int64_t want; } rows[] = {
		{ "500ms", 500 }, { "30s", 30000 }, { "5m", 300000 }, { "2h", 7200000 }, { "7d", 604800000 },
		{ "0", 0 }, { "0s", 0 }, { "", -1 }, { "5", -1 }, { "s", -1 }, { "-1s", -1 }, { "+1s", -1 },
		{ " 1s", -1 }, { "1s ", -1 }, { "1 s", -1 }, { "1.5s", -1 }, { "1S", -1 }, { "1w", -1 },
		{ "99999999999999999999s", -1 }, { "9223372036854775807d", -1 }, { "4000d", -1 },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int64_t ms = -1;

		CHECK_INT(units_parse_duration(rows[i].text, &ms) ? -1 : ms, rows[i].want, "duration '%s'", rows[i].text);
	}
}

static void test_sizes_and_rates(void)
{
	static const struct { const char *text; int64_t size, rate; } rows[] = {
		{ "1M", 1 << 20, -1 }, { "64K", 65536, -1 }, { "123", 123, -1 }, { "2G", INT64_C(2) << 30, -1 },
		{ "0", 0, 0 }, { "1k", -1, -1 }, { "", -1, -1 }, { "-1", -1, -1 }, { "9999999999999G", -1, -1 },
		{ "200/s", -1, 720000 }, { "3/m", -1, 180 }, { "5/h", -1, 5 }, { "5/d", -1, -1 }, { "/s", -1, -1 },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t bytes = 0;
		int64_t rate = 0;

		CHECK_INT(units_parse_size(rows[i].text, &bytes) ? -1 : (int64_t)bytes, rows[i].size, "size '%s'", rows[i].text);
		CHECK_INT(units_parse_rate(rows[i].text, &rate) ? -1 : rate, rows[i].rate, "rate '%s'", rows[i].text);
	}
}

static void test_unit_formats(void)
{
	static const struct { int64_t ms; const char *want; } rows[] = {
		{ 0, "0ms" }, { 340, "340ms" }, { 1500, "1.5s" }, { 2000, "2s" }, { 61000, "1m01s" },
		{ 7200000, "2h00m" }, { 172800000, "2d" },
	};
	char text[UNITS_SIZE];
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK_STR(units_format_duration(rows[i].ms, text), rows[i].want, "%" PRId64 " ms for people", rows[i].ms);
	CHECK_STR(units_format_size(65536, text), "64K", "a whole number of units");
	CHECK_STR(units_format_size(65537, text), "65537", "else bytes");
}

static void test_times(void)
{
	static const struct { const char *text; int64_t want; } rows[] = {
		{ "1970-01-01T00:00:00Z", 0 }, { "2024-03-15T15:00:00Z", 1710514800000 },
		{ "2024-03-15T15:00:00.25Z", 1710514800250 }, { "2024-03-15t17:00:00+02:00", 1710514800000 },
		{ "2024-03-15 09:30:00-05:30", 1710514800000 }, { "2024-02-29T00:00:00Z", 1709164800000 },
		{ "2016-12-31T23:59:60Z", 1483228799000 }, { "2024-03-15T15:00:00.123456789Z", 1710514800123 },
		{ "2023-02-29T00:00:00Z", -1 }, { "2024-13-01T00:00:00Z", -1 }, { "2024-03-15T24:00:00Z", -1 },
		{ "2024-03-15T15:00:00", -1 }, { "2024-03-15", -1 }, { "2024-03-15T15:00:00Zx", -1 },
		{ "2024-03-15T15:00:00.Z", -1 }, { "", -1 }, { "now", -1 }, { "2024-3-15T15:00:00Z", -1 },
	};
	char text[CLOCK_RFC3339_SIZE];
	int64_t ms;
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK_INT(clock_parse(rows[i].text, &ms) ? -1 : ms, rows[i].want, "time '%s'", rows[i].text);
	CHECK_STR(clock_format(1710514800250, text), "2024-03-15T15:00:00.250Z", "a time as RFC 3339");
	CHECK_STR(clock_format(-1, text), "1969-12-31T23:59:59.999Z", "also before 1970");
	CHECK(clock_parse_since("2h", 10000000, &ms) == 0 && ms == 2800000, "two hours ago");
	CHECK(clock_parse_since("2024-03-15", 0, &ms) == 0 && ms == 1710460800000, "a date is its midnight");
	CHECK(clock_parse_since("yesterday", 0, &ms) == -1, "words are no time");
}

static void test_ids(void)
{
	char a[ID_SIZE], b[ID_SIZE], before[ID_SIZE];
	bool sorted = true, valid = true;
	int i;

	id_make(ID_EVENT, 1000, before);
	for (i = 0; i < 10000; i++) {
		id_make(ID_EVENT, 2000, a);
		id_make(ID_EVENT, 2000, b);
		sorted &= strcmp(a, b) < 0 && strcmp(before, a) < 0;
		valid &= id_valid(ID_EVENT, a);
	}
	CHECK(sorted, "ids sort by time, and within one millisecond in the order of their making");
	CHECK(valid, "an id is valid");
	CHECK_INT((int64_t)strlen(a), 4 + 26, "a prefix and 26 characters");
	CHECK(!id_valid(ID_DELIVERY, a), "an event's id is no delivery's");
	CHECK(!id_valid(ID_EVENT, "evt_"), "a prefix is no id");
	CHECK(!id_valid(ID_EVENT, "evt_0000000000000000000000000/"), "no other characters");
}

static void test_printable(void)
{
	static const struct { const char *raw, *line, *lines; } rows[] = {
		{ "plain", "plain", "plain" },
		{ "Zo\xc3\xab \xe5\xb1\xb1", "Zo\xc3\xab \xe5\xb1\xb1", "Zo\xc3\xab \xe5\xb1\xb1" },
		{ "a\nb\tc", "a\\x0ab\\x09c", "a\nb\tc" },
		{ "\033[31mred\a", "\\x1b[31mred\\x07", "\\x1b[31mred\\x07" },
		{ "a\r\n", "a\\x0d\\x0a", "a\\x0d\n" },
		{ "\x9b" "31m", "\\x9b31m", "\\x9b31m" },
		{ "\xc2\x9b", "\\xc2\\x9b", "\\xc2\\x9b" },
		{ "\xe2\x80\xae" "evil", "\\xe2\\x80\\xaeevil", "\\xe2\\x80\\xaeevil" },
		{ "\xc0\xaf", "\\xc0\\xaf", "\\xc0\\xaf" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", "\\xed\\xa0\\x80" },
		{ "\xf0\x9f\x98", "\\xf0\\x9f\\x98", "\\xf0\\x9f\\x98" },
	};
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf line = BUF_INIT, lines = BUF_INIT;

		buf_add_printable(&line, rows[i].raw, strlen(rows[i].raw), 0);
		buf_add_printable(&lines, rows[i].raw, strlen(rows[i].raw), 1);
		CHECK_STR(buf_str(&line), rows[i].line, "printable in one line, case %zu", i);
		CHECK_STR(buf_str(&lines), rows[i].lines, "printable in lines, case %zu", i);
		buf_free(&line);
		buf_free(&lines);
	}
}

static void test_buf(void)
{
	struct buf b = BUF_INIT;
	char *long_text = xasprintf("%5000d", 1);
	int i;

	CHECK_STR(buf_str(&b), "", "an empty buffer is the empty string");
	buf_addf(&b, "%s", long_text);
	CHECK(b.len == 5000 && strcmp(b.data, long_text) == 0, "formatted text that is longer than the buffer");
	buf_reset(&b);
	for (i = 0; i < 1000; i++)
		buf_addf(&b, "%d,", i);
	CHECK(b.len == 3890 && strncmp(b.data, "0,1,2,", 6) == 0, "many small additions");
	buf_reset(&b);
	buf_addu(&b, 0);
	buf_addc(&b, ' ');
	buf_addu(&b, UINT64_MAX);
	CHECK_STR(buf_str(&b), "0 18446744073709551615", "numbers in decimal");
	buf_reset(&b);
	buf_add_json(&b, "a\"\\\n\t\x01\x7f\xc3\xab/");
	CHECK_STR(buf_str(&b), "\"a\\\"\\\\\\n\\t\\u0001\\u007f\xc3\xab/\"", "a JSON string is escaped");
	buf_reset(&b);
	buf_add_utf8(&b, "a\xff" "b\xc3\xab", 5);
	CHECK_STR(buf_str(&b), "a\xef\xbf\xbd" "b\xc3\xab", "what is no UTF-8 is replaced");
	buf_free(&b);
	free(long_text);
}

static void test_hex(void)
{
	uint8_t bytes[2] = { 0, 0 };
	char text[5];

	bytes_to_hex("\x0f\xa0", 2, text);
	CHECK_STR(text, "0fa0", "bytes as hex");
	CHECK(bytes_from_hex("0fA0", 4, bytes, 2) == 0 && bytes[0] == 0x0f && bytes[1] == 0xa0, "hex of either case");
	CHECK(bytes_from_hex("0fA", 3, bytes, 2) != 0, "a digit is missing");
	CHECK(bytes_from_hex("0fAg", 4, bytes, 2) != 0, "no digit");
}

static void test_files(void)
{
	char *path = xasprintf("%s/file", tap_tmpdir());
	struct buf content = BUF_INIT;
	struct stat st;

	CHECK_INT(fdio_create_file(path, 0640, "one", 3), 0, "a new file");
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0640, "has the mode that was asked for");
	CHECK(fdio_create_file(path, 0600, "two", 3) == -1 && errno == EEXIST, "an existing file is not overwritten");
	CHECK_INT(fdio_replace_file(path, 0600, "three", 5), 0, "a file is replaced");
	CHECK(fdio_read_file(path, 5, &content) == 0 && strcmp(buf_str(&content), "three") == 0, "and read");
	buf_reset(&content);
	CHECK(fdio_read_file(path, 4, &content) == -1 && errno == EFBIG, "not more than allowed");
	unlink(path);
	CHECK(fdio_read_file(path, 4, &content) == -1 && errno == ENOENT, "a missing file");
	buf_free(&content);
	free(path);
}

static void test_paths(void)
{
	static const struct { const char *path, *dir; } rows[] = {
		{ "/a/b", "/a" }, { "/a", "/" }, { "a/b/c", "a/b" }, { "a", "." },
	};
	char *resolved;
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *dir = fdio_dirname(rows[i].path);

		CHECK_STR(dir, rows[i].dir, "the folder of %s", rows[i].path);
		free(dir);
	}
	resolved = fdio_resolve("/base", "x/y");
	CHECK_STR(resolved, "/base/x/y", "a relative path starts at the base");
	free(resolved);
	resolved = fdio_resolve("/base", "/x");
	CHECK_STR(resolved, "/x", "an absolute one does not");
	free(resolved);
}

/* Log to PATH, and read it back. */
static struct buf read_log(const char *path)
{
	struct buf b = BUF_INIT;

	fdio_read_file(path, 1 << 20, &b);
	return b;
}

static void test_log(void)
{
	char *path = xasprintf("%s/log", tap_tmpdir()), *moved = xasprintf("%s.1", path);
	struct buf text;

	CHECK_INT(log_open("test", LOG_LEVEL_WARN, path), 0, "a log file is opened");
	log_info("not this");
	log_warn("forged\n2026-01-01T00:00:00Z error test[1]: line \033[2J");
	text = read_log(path);
	CHECK(strstr(buf_str(&text), "not this") == NULL, "what is below the level is not logged");
	CHECK(strstr(buf_str(&text), "forged\\x0a2026") != NULL && strchr(text.data, '\033') == NULL,
	      "a message can't forge a line or a control sequence");
	CHECK(strchr(text.data, '\n') == text.data + text.len - 1, "one event is one line");
	buf_free(&text);
	rename(path, moved);
	log_error("in the new file");
	text = read_log(path);
	CHECK(strstr(buf_str(&text), "in the new file") != NULL, "a file that was moved away is opened anew");
	buf_free(&text);
	log_open("test", LOG_LEVEL_INFO, "stderr");
	CHECK(log_open("test", LOG_LEVEL_INFO, "/no/such/folder/log") == -1, "a log that can't be opened is an error");
	free(moved);
	free(path);
}

static void test_security_log(void)
{
	char *path = xasprintf("%s/security", tap_tmpdir());
	struct buf text;
	size_t lines = 0;
	char *p;
	int i;

	CHECK_INT(log_open_security(path), 0, "the security log is opened");
	for (i = 0; i < 10000; i++)
		log_security("refused %d", i);
	text = read_log(path);
	for (p = text.data; p && (p = strchr(p, '\n')); p++)
		lines++;
	CHECK(lines >= 20 && lines < 1000, "ten thousand refusals at once are %zu lines", lines);
	buf_free(&text);
	log_open_security("stderr");
	free(path);
}

int main(void)
{
	test_durations();
	test_sizes_and_rates();
	test_unit_formats();
	test_times();
	test_ids();
	test_printable();
	test_buf();
	test_hex();
	test_files();
	test_paths();
	test_log();
	test_security_log();
	return tap_done();
}
