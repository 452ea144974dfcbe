/* The dashboard's files over HTTP. Whoever asks gets them: what they show comes from the API, which wants a key or a
 * session. */
#ifndef NTRVSTA_WEB_DASHBOARD_H
#define NTRVSTA_WEB_DASHBOARD_H

#include <stdbool.h>

#include "lib/conf/conf.h"
#include "lib/web/request.h"

#define DASHBOARD_PATH "/dashboard"
#define DASHBOARD_SESSION_PATH DASHBOARD_PATH "/session" /* the API's, see lib/api/session.h */

/* Is PATH the dashboard's, and is there one? */
bool dashboard_owns(const struct conf *conf, const char *path);

/* Answer METHOD on PATH, which is the dashboard's. Sends the answer, releases nothing. */
void dashboard_serve(struct request *r, const char *method, const char *path);

#endif
