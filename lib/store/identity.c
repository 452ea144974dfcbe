#include "lib/store/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fdio.h"
#include "lib/base/xalloc.h"

#define MAGIC "NTRVID01"
#define HEADER_BYTES 4096
#define BOOT_BYTES 40
#define PAGE_BYTES 4096

/* Slots at the least, and how many of 100 may be taken before the table grows. */
#define SLOTS_MIN 65536
#define LOAD_MAX 60

/* Linear probing reads so many slots at once; a table of LOAD_MAX rarely needs a second look. */
#define WINDOW 16
#define WINDOWS_MAX 4096

/* So many looks say that the table is fuller than its count: what was entered and then rolled back
 * is not counted. */
#define WINDOWS_CROWDED 16

struct header {
	char magic[8];
	uint8_t database[IDENTITY_DATABASE_BYTES];
	char boot[BOOT_BYTES]; /* the boot in which `covered` was written */
	uint64_t slots;        /* 0: another file has taken this one's place */
	uint64_t used;
	int64_t covered;
	int64_t synced; /* what of it is surely on disk */
};

struct entry {
	uint64_t hash;
	int64_t seq; /* 0: free */
};

struct identity_table {
	char *path;
	int fd;
	uint8_t database[IDENTITY_DATABASE_BYTES];
	char boot[BOOT_BYTES];
	int64_t oldest_seq;
	bool crowded; /* to grow at the next chance */
	struct header header; /* as of identity_begin() */
};

/* --- the file ---------------------------------------------------------------------------- */

static int read_at(int fd, void *out, size_t len, off_t at)
{
	ssize_t n = pread(fd, out, len, at);

	if (n == (ssize_t)len)
		return 0;
	if (n >= 0)
		errno = EIO;
	return -1;
}

static int write_at(int fd, const void *data, size_t len, off_t at)
{
	ssize_t n = pwrite(fd, data, len, at);

	if (n == (ssize_t)len)
		return 0;
	if (n >= 0)
		errno = ENOSPC;
	return -1;
}

static off_t slot_offset(uint64_t slot)
{
	return (off_t)(HEADER_BYTES + slot * sizeof(struct entry));
}

static int write_header(struct identity_table *t)
{
	return write_at(t->fd, &t->header, sizeof t->header, 0);
}

/* What a reboot changes: until then the kernel keeps what was written, whoever dies. */
static void read_boot(char out[BOOT_BYTES])
{
	struct buf text = BUF_INIT;

	memset(out, 0, BOOT_BYTES);
	if (fdio_read_file("/proc/sys/kernel/random/boot_id", BOOT_BYTES, &text) == 0)
		memcpy(out, text.data, text.len < BOOT_BYTES ? text.len : BOOT_BYTES);
	buf_free(&text);
}

/* What is read or written in one go may become one large folio of the page cache, and from Linux 6.16 on ext4
 * looks at each block of a folio for each entry that is written to it: 22 us instead of 1. */
static void keep_pages_apart(int fd)
{
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM); /* a hint, which may fail */
}

/* A new, empty file of SLOTS slots, all of it allocated: a full disk shows here. */
static int create_file(const char *path, uint64_t slots, const struct identity_table *t, struct header *header)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), saved;

	if (fd < 0)
		return -1;
	keep_pages_apart(fd);
	memset(header, 0, sizeof *header);
	memcpy(header->magic, MAGIC, sizeof header->magic);
	memcpy(header->database, t->database, sizeof header->database);
	memcpy(header->boot, t->boot, sizeof header->boot);
	header->slots = slots;
	saved = posix_fallocate(fd, 0, slot_offset(slots));
	if (saved == 0 && write_at(fd, header, sizeof *header, 0) == 0)
		return fd;
	saved = saved ? saved : errno;
	close(fd);
	unlink(path);
	errno = saved;
	return -1;
}

static bool header_valid(const struct identity_table *t, const struct header *h, off_t size)
{
	return memcmp(h->magic, MAGIC, sizeof h->magic) == 0 &&
	       memcmp(h->database, t->database, sizeof h->database) == 0 && h->slots >= SLOTS_MIN &&
	       size == slot_offset(h->slots) && h->used <= h->slots;
}

/* Open what is at t->path; -1 where it is missing or of no use. */
static int open_present(struct identity_table *t)
{
	struct stat st;
	int fd = open(t->path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	keep_pages_apart(fd);
	if (fstat(fd, &st) == 0 && read_at(fd, &t->header, sizeof t->header, 0) == 0 &&
	    header_valid(t, &t->header, st.st_size))
		return fd;
	close(fd);
	return -1;
}

static int reopen(struct identity_table *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = open_present(t);
	if (t->fd < 0)
		t->fd = create_file(t->path, SLOTS_MIN, t, &t->header);
	return t->fd < 0 ? -1 : 0;
}

struct identity_table *identity_open(const char *path, const uint8_t database[IDENTITY_DATABASE_BYTES])
{
	struct identity_table *t = xcalloc(1, sizeof *t);

	t->path = xstrdup(path);
	t->fd = -1;
	memcpy(t->database, database, sizeof t->database);
	read_boot(t->boot);
	return t;
}

void identity_close(struct identity_table *t)
{
	if (!t)
		return;
	if (t->fd >= 0)
		close(t->fd);
	free(t->path);
	free(t);
}

/* --- looking and entering ----------------------------------------------------------------- */

static uint64_t hash_of(const uint8_t identity[SHA256_BYTES])
{
	uint64_t hash;

	memcpy(&hash, identity, sizeof hash);
	return hash;
}

/* In the order of the hashes, so that growing moves forward through both files. */
static uint64_t home_slot(uint64_t hash, uint64_t slots)
{
	return (uint64_t)((unsigned __int128)hash * slots >> 64);
}

/* One entry of a probe sequence. True where the sequence ends: behind it the hash can't be. */
static bool look_at_entry(const struct identity_table *t, const struct entry *e, uint64_t slot, uint64_t hash,
                          bool *have_slot, struct identity_probe *out)
{
	bool reusable = e->seq == 0 || e->seq < t->oldest_seq;

	if (reusable && !*have_slot) {
		*have_slot = true;
		out->slot = slot;
	}
	if (!reusable && e->hash == hash && out->n < IDENTITY_CANDIDATES_MAX)
		out->candidates[out->n++] = e->seq;
	return e->seq == 0;
}

int identity_find(struct identity_table *t, const uint8_t identity[SHA256_BYTES], struct identity_probe *out)
{
	uint64_t hash = hash_of(identity), slots = t->header.slots, slot = home_slot(hash, slots);
	struct entry window[WINDOW];
	bool have_slot = false;
	int round;

	out->n = 0;
	for (round = 0; round < WINDOWS_MAX; round++) {
		size_t n = slots - slot < WINDOW ? (size_t)(slots - slot) : WINDOW, i;

		if (read_at(t->fd, window, n * sizeof *window, slot_offset(slot)))
			return -1;
		for (i = 0; i < n; i++)
			if (look_at_entry(t, &window[i], slot + i, hash, &have_slot, out))
				return 0;
		t->crowded |= round >= WINDOWS_CROWDED;
		slot = slot + n == slots ? 0 : slot + n;
	}
	/* Never seen with this load; better to store an event twice than not at all. */
	errno = ENOSPC;
	return have_slot ? 0 : -1;
}

int identity_add(struct identity_table *t, const uint8_t identity[SHA256_BYTES], int64_t seq,
                 const struct identity_probe *probe)
{
	struct entry e = { hash_of(identity), seq };

	t->header.used++;
	return write_at(t->fd, &e, sizeof e, slot_offset(probe->slot));
}

int64_t identity_covered(const struct identity_table *t)
{
	return t->header.covered;
}

int identity_cover(struct identity_table *t, int64_t seq)
{
	t->header.covered = seq;
	return write_header(t);
}

/* --- growing ------------------------------------------------------------------------------ */

#define CHUNK 4096 /* entries read at once */

/* A table that is filled: the part of it in which entries go at present is in memory. They come in
 * about the order of their slots, so that it moves forward through the file. */
#define PART 65536 /* slots */
#define PART_BEHIND 1024 /* how far behind the latest entry's slot another one may still belong */

struct filling {
	int fd;
	struct header header;
	struct entry *part;
	uint64_t from; /* first slot of the part */
	size_t n;      /* slots in it; 0: none is loaded */
};

static int load_part(struct filling *f, uint64_t slot)
{
	f->from = slot > PART_BEHIND ? slot - PART_BEHIND : 0;
	f->n = f->header.slots - f->from < PART ? (size_t)(f->header.slots - f->from) : PART;
	return read_at(f->fd, f->part, f->n * sizeof *f->part, slot_offset(f->from));
}

/* Page by page: see keep_pages_apart(). */
static int store_part(struct filling *f)
{
	const char *data = (const char *)f->part;
	size_t len = f->n * sizeof *f->part, n;
	off_t at = slot_offset(f->from);

	for (; len > 0; data += n, at += (off_t)n, len -= n) {
		n = PAGE_BYTES - (size_t)at % PAGE_BYTES;
		n = n < len ? n : len;
		if (write_at(f->fd, data, n, at))
			return -1;
	}
	return 0;
}

/* Put E into the part, if its probe sequence ends there. */
static bool fill_in_part(struct filling *f, const struct entry *e, uint64_t home)
{
	size_t i;

	for (i = (size_t)(home - f->from); i < f->n; i++) {
		if (f->part[i].seq == 0) {
			f->part[i] = *e;
			return true;
		}
	}
	return false;
}

/* Anywhere in the file, wherever its probe sequence leads. No part may be loaded. */
static int fill_in_file(struct filling *f, const struct entry *e, uint64_t slot)
{
	struct entry at;

	for (;; slot = slot + 1 == f->header.slots ? 0 : slot + 1) {
		if (read_at(f->fd, &at, sizeof at, slot_offset(slot)))
			return -1;
		if (at.seq == 0)
			return write_at(f->fd, e, sizeof *e, slot_offset(slot));
	}
}

static int fill(void *ctx, const struct entry *e)
{
	struct filling *f = ctx;
	uint64_t home = home_slot(e->hash, f->header.slots);

	f->header.used++;
	if (home - f->from < f->n && fill_in_part(f, e, home))
		return 0;
	if (store_part(f) || load_part(f, home))
		return -1;
	if (fill_in_part(f, e, home))
		return 0;
	f->n = 0; /* it wraps around at the end of the table */
	return fill_in_file(f, e, home);
}

/* Call FN with each entry of an event that may still exist. */
static int each_live(struct identity_table *t, int (*fn)(void *ctx, const struct entry *e), void *ctx)
{
	struct entry *chunk = xreallocarray(NULL, CHUNK, sizeof *chunk);
	uint64_t slot;
	int result = 0;

	for (slot = 0; result == 0 && slot < t->header.slots; slot += CHUNK) {
		size_t n = t->header.slots - slot < CHUNK ? (size_t)(t->header.slots - slot) : CHUNK, i;

		result = read_at(t->fd, chunk, n * sizeof *chunk, slot_offset(slot));
		for (i = 0; result == 0 && i < n; i++)
			if (chunk[i].seq != 0 && chunk[i].seq >= t->oldest_seq)
				result = fn(ctx, &chunk[i]);
	}
	free(chunk);
	return result;
}

static int count_entry(void *ctx, const struct entry *e)
{
	(void)e;
	++*(uint64_t *)ctx;
	return 0;
}

/* The new file takes the old one's place; who has the old one open sees that it has no slots. */
static int replace_file(struct identity_table *t, const char *temporary, struct filling *c)
{
	struct header retired = t->header;

	c->header.covered = t->header.covered;
	c->header.synced = 0;
	if (write_at(c->fd, &c->header, sizeof c->header, 0) || rename(temporary, t->path))
		return -1;
	retired.slots = 0;
	(void)write_at(t->fd, &retired, sizeof retired, 0);
	close(t->fd);
	t->fd = c->fd;
	t->header = c->header;
	t->crowded = false;
	return 0;
}

/* A table with room for twice what is alive, without what is not. */
static int grow(struct identity_table *t, size_t more)
{
	char *temporary = xasprintf("%s.new", t->path);
	struct filling c = { .fd = -1, .part = xreallocarray(NULL, PART, sizeof(struct entry)) };
	uint64_t live = 0;
	int result = each_live(t, count_entry, &live), saved;

	if (result == 0) {
		uint64_t slots = (live + more) * 100 / LOAD_MAX * 2;

		c.fd = create_file(temporary, slots > SLOTS_MIN ? slots : SLOTS_MIN, t, &c.header);
		result = c.fd < 0 ? -1 : each_live(t, fill, &c);
	}
	if (result == 0)
		result = store_part(&c);
	if (result == 0)
		result = replace_file(t, temporary, &c);
	if (result && c.fd >= 0) {
		saved = errno;
		close(c.fd);
		unlink(temporary);
		errno = saved;
	}
	free(c.part);
	free(temporary);
	return result;
}

int identity_begin(struct identity_table *t, size_t more, int64_t oldest_seq)
{
	t->oldest_seq = oldest_seq;
	if (t->fd < 0 || read_at(t->fd, &t->header, sizeof t->header, 0) || t->header.slots == 0) {
		if (reopen(t))
			return -1;
	}
	/* After a reboot only what was synced is sure to be there. */
	if (memcmp(t->header.boot, t->boot, sizeof t->boot) != 0) {
		memcpy(t->header.boot, t->boot, sizeof t->boot);
		t->header.covered = t->header.synced;
	}
	if (t->crowded || t->header.used + more > t->header.slots * LOAD_MAX / 100)
		return grow(t, more);
	return 0;
}

/* --- to disk ------------------------------------------------------------------------------ */

int identity_sync(struct identity_table *t)
{
	struct header now;
	off_t at = (off_t)offsetof(struct header, synced);

	if (t->fd < 0 || read_at(t->fd, &now, sizeof now, 0) || now.slots == 0) {
		if (t->fd >= 0)
			close(t->fd);
		t->fd = open_present(t);
		if (t->fd < 0)
			return errno == ENOENT ? 0 : -1;
		now = t->header;
	}
	if (now.covered == now.synced || memcmp(now.boot, t->boot, sizeof t->boot) != 0)
		return 0;
	/* Entries up to `covered` were written before it was: they go first. */
	if (fdatasync(t->fd) || write_at(t->fd, &now.covered, sizeof now.covered, at))
		return -1;
	return fdatasync(t->fd);
}
