#include "ackc/output/failure.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <uv.h>

static const struct row {
	int failure;
	int weight; /* the higher, the more informative */
	const char *text;
} failures[] = {
	{FAILURE_LOOKUP_TIMEOUT, 0, "timed out looking up the name"},
	{FAILURE_CONNECT_TIMEOUT, 5, "timed out connecting"},
	{FAILURE_HANDSHAKE_TIMEOUT, 5, "timed out in the TLS handshake"},
	{FAILURE_REPLY_TIMEOUT, 0, "timed out waiting for a reply"},
	{FAILURE_CUT, 7, "connection closed without close_notify"},
	{FAILURE_CERTIFICATE, 8, "the certificate of the server is not accepted"},
	{FAILURE_NO_TLS, 8, "the server does not speak TLS"},
	{FAILURE_TLS, 8, "TLS error"},
	{UV_ETIMEDOUT, 5, "connection timed out"},
	{UV_ECONNREFUSED, 8, "connection refused"},
	{UV_ECONNRESET, 7, "connection reset"},
	{UV_EPIPE, 7, "connection closed early"},
	{UV_EOF, 7, "connection closed early"},
	{UV_ENETUNREACH, 2, "network unreachable"},
	{UV_EHOSTUNREACH, 3, "host unreachable"},
	{UV_ENETDOWN, 2, "network is down"},
	{UV_EADDRNOTAVAIL, 1, "no local port or address left"},
	{UV_EADDRINUSE, 1, "no local port or address left"}, /* of Windows */
	{UV_EMFILE, 9, "too many open files in this process (see ulimit -n)"},
	{UV_ENFILE, 9, "too many open files in the system"},
	{UV_EACCES, 6, "permission denied"},
	{UV_EPERM, 6, "operation not permitted"},
	{UV_ENOENT, 6, "no such file or directory"},
	{UV_ENOMEM, 9, "out of memory"},
	{UV_EAI_NONAME, 0, "no such host"},
	{UV_EAI_NODATA, 0, "no such host"},
	{UV_EAI_ADDRFAMILY, 0, "no address of that family"},
	{UV_EAI_FAMILY, 0, "no address of that family"},
	{UV_EAI_AGAIN, 0, "temporary failure of the name look-up"},
	{UV_EAI_FAIL, 0, "name look-up failed"},
};

#define N_FAILURES (sizeof(failures) / sizeof(failures[0]))
static_assert(N_FAILURES < FAILURE_KINDS, "failure_kind() returns the row, or N_FAILURES");

unsigned failure_kind(int failure)
{
	unsigned i = 0;

	while (i < N_FAILURES && failures[i].failure != failure)
		i++;
	return i;
}

/* Returns the row of @failure, or NULL. */
static const struct row *find(int failure)
{
	unsigned i = failure_kind(failure);

	return i < N_FAILURES ? &failures[i] : NULL;
}

/* The latest description of a failure of TLS, and that failure. */
static _Thread_local char described_words[256];
static _Thread_local int described;

int failure_describe(int failure, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(described_words, sizeof(described_words), format, args);
	va_end(args);
	described = failure;
	return failure;
}

const char *failure_text(int failure)
{
	static _Thread_local char other[128];
	const struct row *row = find(failure);

	if (failure && failure == described)
		return described_words;
	if (row)
		return row->text;
	uv_strerror_r(failure, other, sizeof(other));
	other[0] = (char)tolower((unsigned char)other[0]);
	return other;
}

static int weight(int failure)
{
	const struct row *row = find(failure);

	return row ? row->weight : failure ? 4 : -1;
}

int failure_prefer(int a, int b)
{
	return weight(b) > weight(a) ? b : a;
}
