#include "lib/event/catalogue.h"

#include <string.h>

#define CANDIDATE \
	"\"candidate\":{\"id\":\"cand_4827160935\",\"email\":\"mira.lindqvist@example.org\"," \
	"\"name\":\"Mira Lindqvist\"}"

#define SESSION "\"id\":\"sess_3069481752\",\"interview_id\":\"int_7741902836\"," CANDIDATE

#define INTERVIEW \
	"\"id\":\"int_7741902836\",\"title\":\"Database Engineer\",\"type\":\"technical\"," \
	"\"duration\":45,\"created_at\":\"2026-02-03T08:15:00Z\",\"created_by\":\"user_417\""

#define INVITATION \
	"\"invitation\":{\"id\":\"inv_01kgq5n8p00g7x3z2m4a6c8e9f\",\"template_id\":\"tpl_01kfd2c4r0v5b7n9q1s3t6w8yz\"," \
	"\"invite_url\":\"https://interviews.example.org/i/9f3c2aT7Lq0WbR5xKdM1ZY\"," \
	"\"invited_at\":\"2026-02-05T13:20:00Z\",\"expires_at\":\"2026-03-07T13:20:00Z\"}"

static const struct catalogue_event events[] = {
	{ "interview.created", "Somebody has set up an interview.",
	  "{\"interview\":{" INTERVIEW "}}" },
	{ "interview.updated", "The settings of an interview have changed.",
	  "{\"interview\":{" INTERVIEW ",\"updated_at\":\"2026-02-04T16:40:00Z\"}}" },
	{ "interview.deleted", "An interview is gone.",
	  "{\"interview\":{" INTERVIEW ",\"deleted_at\":\"2026-02-20T11:05:00Z\"}}" },
	{ "session.started", "A candidate has begun an interview.",
	  "{\"session\":{" SESSION ",\"started_at\":\"2026-02-10T09:00:00Z\","
	  "\"ip_address\":\"192.0.2.44\",\"user_agent\":\"Mozilla/5.0 (X11; Linux x86_64)\"}}" },
	{ "session.completed", "A candidate has finished an interview.",
	  "{\"session\":{" SESSION ",\"completed_at\":\"2026-02-10T09:41:00Z\","
	  "\"duration_minutes\":41,\"overall_score\":87,\"status\":\"completed\"}}" },
	{ "session.abandoned", "A candidate has left an interview before its end.",
	  "{\"session\":{" SESSION ",\"started_at\":\"2026-02-10T09:00:00Z\","
	  "\"abandoned_at\":\"2026-02-10T09:12:00Z\",\"duration_minutes\":12,"
	  "\"status\":\"abandoned\"}}" },
	{ "candidate.invited", "A candidate has been invited to an interview.",
	  "{" CANDIDATE ",\"interview\":{\"id\":\"int_7741902836\",\"title\":\"Database Engineer\"},"
	  INVITATION "}" },
	{ "candidate.reminded", "A candidate has been sent a reminder.",
	  "{" CANDIDATE ",\"interview\":{\"id\":\"int_7741902836\",\"title\":\"Database Engineer\"},"
	  INVITATION ",\"reminded_at\":\"2026-02-08T13:20:00Z\"}" },
	{ "candidate.updated", "What is known of a candidate has changed.",
	  "{" CANDIDATE ",\"updated_at\":\"2026-02-09T10:30:00Z\"}" },
	{ "result.completed", "The final result of an interview is there.",
	  "{\"resultId\":\"res_5518273940\",\"interviewId\":\"int_7741902836\","
	  "\"candidate\":{\"email\":\"mira.lindqvist@example.org\",\"firstName\":\"Mira\","
	  "\"lastName\":\"Lindqvist\",\"externalId\":\"A-2214\"},"
	  "\"status\":\"completed\",\"score\":87,\"completedAt\":\"2026-02-10T09:55:00Z\"}" },
};

#define NEVENTS (sizeof events / sizeof events[0])

const struct catalogue_event *catalogue_events(size_t *n)
{
	*n = NEVENTS;
	return events;
}

const struct catalogue_event *catalogue_find(const char *name)
{
	size_t i;

	for (i = 0; i < NEVENTS; i++)
		if (strcmp(events[i].name, name) == 0)
			return &events[i];
	return NULL;
}
