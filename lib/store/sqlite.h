/* Shared by the two files of the SQLite back end; no business of anybody else. */
#ifndef NTRVSTA_STORE_SQLITE_H
#define NTRVSTA_STORE_SQLITE_H

#include <sqlite3.h>

#include "lib/store/store.h"

#define STORE_STATEMENTS 32

struct store {
	sqlite3 *db;
	int64_t busy_limit_us; /* how long to wait for another process's lock */
	int64_t busy_since_us;
	struct buf error;
	sqlite3_stmt *statements[STORE_STATEMENTS]; /* prepared once, see sqlite.c */
};

/* Remember what SQLite says of the last call, and what that means to the caller. */
enum store_status sqlite_status(struct store *s, int rc);

#endif
