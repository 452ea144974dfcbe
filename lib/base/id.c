#include "lib/base/id.h"

#include <pthread.h>
#include <string.h>

#include "lib/base/bytes.h"

#define ID_CHARS 26

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* The last id's time and random part, so that ids of one millisecond count up. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t last_ms = -1;
static unsigned __int128 last_random;

#define RANDOM_BITS 80
#define RANDOM_MASK (((unsigned __int128)1 << RANDOM_BITS) - 1)

static unsigned __int128 next_value(int64_t wall_ms)
{
	unsigned __int128 value;

	pthread_mutex_lock(&lock);
	if (wall_ms != last_ms) {
		last_ms = wall_ms;
		bytes_random(&last_random, sizeof last_random);
		/* The top bit stays clear, so that counting up has room. */
		last_random &= RANDOM_MASK >> 1;
	} else {
		last_random++;
	}
	value = (unsigned __int128)(uint64_t)wall_ms << RANDOM_BITS | last_random;
	pthread_mutex_unlock(&lock);
	return value;
}

char *id_make(const char *prefix, int64_t wall_ms, char out[ID_SIZE])
{
	size_t prefix_len = strlen(prefix);
	unsigned __int128 value = next_value(wall_ms);
	int i;

	memcpy(out, prefix, prefix_len);
	for (i = ID_CHARS - 1; i >= 0; i--, value >>= 5)
		out[prefix_len + (size_t)i] = alphabet[(unsigned)value & 31];
	out[prefix_len + ID_CHARS] = '\0';
	return out;
}

bool id_valid(const char *prefix, const char *s)
{
	size_t prefix_len = strlen(prefix);

	return strncmp(s, prefix, prefix_len) == 0 && strlen(s + prefix_len) == ID_CHARS &&
	       strspn(s + prefix_len, alphabet) == ID_CHARS;
}
