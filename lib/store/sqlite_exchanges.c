#include "lib/store/exchanges.h"

#include "lib/store/sqlite.h"

enum store_status store_put_exchange(struct store *s, int64_t attempt_seq, const struct store_exchange *e)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"INSERT INTO exchange (attempt_seq, request_head, answer_head, answer_head_cut) VALUES (?1, ?2, ?3, ?4)");

	sqlite3_bind_int64(stmt, 1, attempt_seq);
	sqlite_bind_text(stmt, 2, e->request_head);
	sqlite_bind_text(stmt, 3, e->answer_head);
	sqlite3_bind_int(stmt, 4, e->answer_head_cut);
	return sqlite_run(s, stmt);
}

enum store_status sqlite_remove_exchanges(struct store *s, int64_t event_seq)
{
	sqlite3_stmt *stmt = sqlite_prepare(s,
		"DELETE FROM exchange WHERE attempt_seq IN (SELECT a.seq FROM attempt a JOIN delivery d ON d.seq = a.delivery_seq"
		" WHERE d.event_seq = ?1)");

	sqlite3_bind_int64(stmt, 1, event_seq);
	return sqlite_run(s, stmt);
}
