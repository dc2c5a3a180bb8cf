/*
 * The raw epoll line server: splits with memchr(), puts "Got " before each line, and answers all
 * the lines of a read in one write. A line that a read cuts off is kept for the next.
 */
#include "epoll.h"
#include "listen.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX "Got "
#define PREFIX_LENGTH (sizeof PREFIX - 1)
#define FDS_MAX 65536
#define LINE_MAX_BYTES ((size_t)64 * 1024)

struct partial {
	size_t length;
	uint8_t bytes[LINE_MAX_BYTES];
};

static struct partial *partial[FDS_MAX];

/* Enough for a read of empty lines and the kept beginning of the first. */
static uint8_t out[EPOLL_READ_BYTES * (1 + PREFIX_LENGTH) + LINE_MAX_BYTES];

static void forget(int fd)
{
	free(partial[fd]);
	partial[fd] = NULL;
}

static void keep(int fd, const uint8_t *data, size_t n)
{
	struct partial *line = partial[fd];

	if (!line) {
		line = malloc(sizeof *line);
		if (!line)
			abort();
		line->length = 0;
		partial[fd] = line;
	}
	if (n > LINE_MAX_BYTES - line->length)
		abort();
	memcpy(line->bytes + line->length, data, n);
	line->length += n;
}

static void on_read(int fd, const uint8_t *data, size_t n)
{
	const uint8_t *p = data, *end = data + n, *newline;
	uint8_t *o = out;

	while (p < end && (newline = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		size_t length = (size_t)(newline + 1 - p);

		memcpy(o, PREFIX, PREFIX_LENGTH);
		o += PREFIX_LENGTH;
		if (partial[fd]) {
			memcpy(o, partial[fd]->bytes, partial[fd]->length);
			o += partial[fd]->length;
			forget(fd);
		}
		memcpy(o, p, length);
		o += length;
		p += length;
	}
	if (p < end)
		keep(fd, p, (size_t)(end - p));
	if (o > out)
		epoll_send(fd, out, (size_t)(o - out));
}

int main(int argc, char **argv)
{
	epoll_serve(listen_or_exit(argc, argv, true), on_read, forget);
}
