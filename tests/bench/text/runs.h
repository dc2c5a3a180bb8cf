#pragma once

/* The measured operations. Each processes all pieces of a text @passes times. */

#include "core/text/transcode.h"
#include "texts.h"

#include <stdbool.h>

struct run {
	const char *name;
	const char *kernel; /* to be selected first, or NULL */
	void (*run)(const struct run *run, const struct pieces *pieces, unsigned passes);
	/* of transcoding: */
	struct transcoder transcoder;
};

/* Copies each piece to its own place in another area. */
void run_memcpy(const struct run *run, const struct pieces *pieces, unsigned passes);

/* utf8_check() of each piece alone. */
void run_check(const struct run *run, const struct pieces *pieces, unsigned passes);

/* The pieces are one stream: a truncated character is carried into the next piece. */
void run_stream(const struct run *run, const struct pieces *pieces, unsigned passes);

/* transcode() of each piece alone, into an area of 256 KiB. */
void run_transcode(const struct run *run, const struct pieces *pieces, unsigned passes);

/* glibc's mbsnrtowcs(), which also makes wide characters. */
void run_mbsnrtowcs(const struct run *run, const struct pieces *pieces, unsigned passes);

/* libunistring's u8_check(); NULL where it is not installed. */
extern void (*const run_u8_check)(const struct run *run, const struct pieces *pieces,
				  unsigned passes);

/*
 * Opens the shared object @path, whose utf8_peer_name is a string and whose utf8_peer_check(const
 * char *, size_t) returns whether a text is well-formed, as a further measurement. Exits on
 * failure. Returns its name.
 */
const char *peer_open(const char *path);
void run_peer(const struct run *run, const struct pieces *pieces, unsigned passes);

/* session_feed() of each piece to a session of its own kind: echo, ack. */
void run_session_echo(const struct run *run, const struct pieces *pieces, unsigned passes);
void run_session_ack(const struct run *run, const struct pieces *pieces, unsigned passes);

/* The number of bytes that the last run found well-formed, to verify its work. */
extern size_t run_proven_bytes;
