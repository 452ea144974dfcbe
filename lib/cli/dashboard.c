#include "lib/cli/cli.h"

#include "config.h"

#ifdef HAVE_DASHBOARD
#define BUILT_IN true
#else
#define BUILT_IN false
#endif

const char *cli_no_dashboard(const struct conf *conf)
{
	if (!BUILT_IN)
		return "ntrvsta-fcgi was built without it";
	if (!conf->web_dashboard)
		return "[web] dashboard is off";
	return conf->web_api ? NULL : "it works over the API, and [web] api is off";
}
