#include "runs.h"

#include "core/session/session.h"
#include "core/utf8/utf8.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define AREA ((size_t)256 * 1024)

size_t run_proven_bytes;

static uint8_t copies[TEXT_LONG];
static uint8_t area[AREA];
static bool (*peer_check)(const char *, size_t);

/* Keeps the compiler from removing the computation of what @p points to. */
static inline void use(const void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

void run_memcpy(const struct run *run, const struct pieces *pieces, unsigned passes)
{
	while (passes-- > 0) {
		for (size_t i = 0; i < pieces->n; i++) {
			uint32_t at = pieces->offsets[i];

			memcpy(copies + at, pieces->text + at, pieces->offsets[i + 1] - at);
			use(copies);
		}
	}
	run_proven_bytes = pieces->total_bytes;
}

void run_check(const struct run *run, const struct pieces *pieces, unsigned passes)
{
	size_t proven = 0;

	while (passes-- > 0) {
		proven = 0;
		for (size_t i = 0; i < pieces->n; i++) {
			uint32_t at = pieces->offsets[i];

			proven += utf8_check(pieces->text + at, pieces->offsets[i + 1] - at).valid;
		}
	}
	run_proven_bytes = proven;
}

void run_stream(const struct run *run, const struct pieces *pieces, unsigned passes)
{
	struct utf8_carry carry = {0};
	size_t proven = 0;

	while (passes-- > 0) {
		proven = 0;
		for (size_t i = 0; i < pieces->n; i++) {
			const uint8_t *p = pieces->text + pieces->offsets[i];
			size_t n = pieces->offsets[i + 1] - pieces->offsets[i];
			struct utf8_checked checked = utf8_check_next(&carry, p, n);

			proven += checked.valid + checked.length;
		}
		carry.length = 0;
	}
	run_proven_bytes = proven;
}

void run_transcode(const struct run *run, const struct pieces *pieces, unsigned passes)
{
	while (passes-- > 0) {
		for (size_t i = 0; i < pieces->n; i++) {
			const uint8_t *p = pieces->text + pieces->offsets[i];
			size_t n = pieces->offsets[i + 1] - pieces->offsets[i];

			while (n > 0) {
				size_t read, written;

				transcode(&run->transcoder, p, n, area, AREA, &read, &written);
				use(area);
				p += read;
				n -= read;
			}
		}
	}
	run_proven_bytes = pieces->total_bytes;
}

void run_mbsnrtowcs(const struct run *run, const struct pieces *pieces, unsigned passes)
{
	static wchar_t wide[TEXT_LONG];
	size_t proven = 0;

	while (passes-- > 0) {
		proven = 0;
		for (size_t i = 0; i < pieces->n; i++) {
			const char *start = (const char *)pieces->text + pieces->offsets[i];
			const char *p = start;
			size_t n = pieces->offsets[i + 1] - pieces->offsets[i];
			mbstate_t state = {0};

			if (mbsnrtowcs(wide, &p, n, TEXT_LONG, &state) != (size_t)-1)
				proven += (size_t)(p - start);
			use(wide);
		}
	}
	run_proven_bytes = proven;
}

const char *peer_open(const char *path)
{
	void *object = dlopen(path, RTLD_NOW);
	const char *const *name = object ? dlsym(object, "utf8_peer_name") : NULL;
	void *check = object ? dlsym(object, "utf8_peer_check") : NULL;

	if (!name || !check) {
		fprintf(stderr, "bench-text: %s\n", dlerror());
		exit(EXIT_FAILURE);
	}
	memcpy(&peer_check, &check, sizeof(check));
	return *name;
}

void run_peer(const struct run *run, const struct pieces *pieces, unsigned passes)
{
	size_t proven = 0;

	while (passes-- > 0) {
		proven = 0;
		for (size_t i = 0; i < pieces->n; i++) {
			uint32_t at = pieces->offsets[i];
			size_t n = pieces->offsets[i + 1] - at;

			proven += peer_check((const char *)pieces->text + at, n) ? n : 0;
		}
	}
	run_proven_bytes = proven;
}

static void run_session(enum reply_kind reply, const struct pieces *pieces, unsigned passes)
{
	struct policy policy = {.reply = reply, .framing = FRAMING_STREAM};
	struct template_error error;
	struct session_io io;
	struct session session;
	struct budget budget;
	size_t sent = 0;

	budget_init(&budget, SIZE_MAX);
	if (session_io_init(&io, &budget) < 0 ||
	    template_compile("Got ", CHARSET_UTF_8, TEMPLATE_IN_REPLY, &policy.ack_prefix,
			     &error) != TEMPLATE_OK)
		abort();
	policy_prepare(&policy);
	session_init(&session, &policy, NULL, 1);
	while (passes-- > 0) {
		for (size_t i = 0; i < pieces->n; i++) {
			uint32_t at = pieces->offsets[i];

			session_feed(&session, &io, pieces->text + at, pieces->offsets[i + 1] - at);
			sent += io.out.n_bytes;
			session_io_clear(&io);
		}
	}
	run_proven_bytes = sent >= pieces->total_bytes ? pieces->total_bytes : 0;
	session_finish(&session, &io);
	session_io_finish(&io);
	template_destroy(policy.ack_prefix);
}

void run_session_echo(const struct run *run, const struct pieces *pieces, unsigned passes)
{
	run_session(REPLY_ECHO, pieces, passes);
}

void run_session_ack(const struct run *run, const struct pieces *pieces, unsigned passes)
{
	run_session(REPLY_ACK, pieces, passes);
}
