#include "lib/store/store.h"

#include <string.h>

const char *store_event_status(const struct store_event_row *row)
{
	if (!row->expanded)
		return "new";
	if (row->failed > 0)
		return "failed";
	if (row->waiting > 0)
		return "waiting";
	if (row->deliveries == 0)
		return "unhandled";
	return row->succeeded > 0 ? "success" : "canceled";
}

const char *store_attempt_status(const struct store_attempt_row *row)
{
	return strcmp(row->outcome, "success") == 0 ? "success" : "failed";
}
