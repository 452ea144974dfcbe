#include "lib/store/depth.h"

#include "lib/store/sqlite.h"

enum store_status store_depth(struct store *s, struct store_depth *out)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"SELECT (SELECT count(*) FROM event WHERE seq > (SELECT value FROM meta WHERE key = 'expanded') AND test = 0),"
		" (SELECT count(*) FROM delivery WHERE state = 'pending' AND due_ms >= 0),"
		" (SELECT count(*) FROM delivery WHERE state = 'running' AND test = 0),"
		" (SELECT count(*) FROM delivery WHERE state = 'failed' AND test = 0)");
	enum store_status status = sqlite_next(s, stmt);

	if (status == STORE_OK) {
		out->new_events = sqlite3_column_int64(stmt, 0);
		out->pending = sqlite3_column_int64(stmt, 1);
		out->running = sqlite3_column_int64(stmt, 2);
		out->failed = sqlite3_column_int64(stmt, 3);
	}
	sqlite3_reset(stmt);
	return status;
}
