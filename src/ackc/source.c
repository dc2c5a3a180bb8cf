#include "ackc/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int source_generate(size_t size, struct source *ret_source)
{
	size_t n = size > SOURCE_HEAD + 1 ? size - SOURCE_HEAD - 1 : 0;
	uint8_t *filling = malloc(n + 1);

	if (!filling)
		return -ENOMEM;
	/* Neighbours differ, so that a lost or doubled byte shows. */
	for (size_t i = 0; i < n; i++)
		filling[i] = (uint8_t)(i == 0 ? ' ' : 'a' + i * 7 % 26);
	*ret_source = (struct source){.size_max = size, .bytes = filling, .n_bytes = n};
	return 0;
}

static int read_whole(const char *path, uint8_t **ret_bytes, size_t *ret_n)
{
	uint8_t *bytes = NULL;
	size_t n = 0;
	struct stat st;
	ssize_t got;
	int r = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (st.st_size > SOURCE_FILE_MAX)
		r = -EFBIG;
	else if (st.st_size == 0 && S_ISREG(st.st_mode))
		r = -ENODATA;
	/* Room for a LF after a last line without. A pipe has no size: up to 1 MiB is read of it.
	 */
	size_t room = st.st_size > 0 ? (size_t)st.st_size : 1U << 20;
	if (r == 0 && !(bytes = malloc(room + 1)))
		r = -ENOMEM;
	while (r == 0 && n < room && (got = read(fd, bytes + n, room - n)) != 0) {
		if (got < 0)
			r = -errno;
		else
			n += (size_t)got;
	}
	close(fd);
	if (r == 0 && n == 0)
		r = -ENODATA;
	if (r < 0) {
		free(bytes);
		return r;
	}
	*ret_bytes = bytes;
	*ret_n = n;
	return 0;
}

/* Returns the length of the piece at @p: a line, or at most @size bytes of whole characters. */
static size_t piece_length(const uint8_t *p, size_t left, bool lines, size_t size)
{
	size_t n = left < size ? left : size;

	if (lines) {
		const uint8_t *end = memchr(p, '\n', left);

		return end ? (size_t)(end - p) + 1 : left;
	}
	/* A character has at most three continuation bytes; more is not UTF-8 and cut anywhere. */
	for (size_t back = 0; n < left && back < 4 && back < n; back++) {
		if ((p[n - back] & 0xC0) != 0x80)
			return n - back;
	}
	return n;
}

static int cut(struct source *s, bool lines, size_t size)
{
	size_t room = 0;

	for (size_t offset = 0; offset < s->n_bytes;) {
		size_t n = piece_length(s->bytes + offset, s->n_bytes - offset, lines, size);

		if (s->n_pieces == room) {
			void *more;

			room = room ? 2 * room : 1024;
			more = reallocarray(s->pieces, room, sizeof(*s->pieces));
			if (!more)
				return -ENOMEM;
			s->pieces = more;
		}
		s->pieces[s->n_pieces++] = (struct source_piece){(uint32_t)offset, (uint32_t)n};
		if (n > s->size_max)
			s->size_max = n;
		offset += n;
	}
	return 0;
}

int source_read(const char *path, bool lines, size_t size, struct source *ret_source)
{
	struct source s = {0};
	int r = read_whole(path, &s.bytes, &s.n_bytes);

	if (r < 0)
		return r;
	if (lines && s.n_bytes > 0 && s.bytes[s.n_bytes - 1] != '\n')
		s.bytes[s.n_bytes++] = '\n';
	r = cut(&s, lines, size);
	if (r < 0) {
		source_finish(&s);
		return r;
	}
	*ret_source = s;
	return 0;
}

void source_finish(struct source *s)
{
	free(s->bytes);
	free(s->pieces);
	*s = (struct source){0};
}

static void piece_message(const struct source *s, uint32_t connection, uint64_t index,
			  struct message *m)
{
	/* The connections begin at different places, or a mix-up between them could not be seen. */
	const struct source_piece *piece = &s->pieces[(index + connection) % s->n_pieces];
	const uint8_t *p = s->bytes + piece->offset;
	uint32_t n = piece->length;

	m->head_n = 0;
	m->terminator_n = 0;
	if (n && p[n - 1] == '\n')
		m->terminator_n = n > 1 && p[n - 2] == '\r' ? 2 : 1;
	m->body = p;
	m->body_n = n - m->terminator_n;
	m->terminator = p + m->body_n;
}

void source_other_message(const struct source *s, uint32_t connection, uint64_t index,
			  struct message *ret_message)
{
	uint64_t words[SOURCE_HEAD / 8] = {source_hex(connection), source_hex((uint32_t)index)};
	size_t text = s->size_max - 1;

	if (s->pieces) {
		piece_message(s, connection, index, ret_message);
		return;
	}
	/* What fits of the number's last digits. */
	memcpy(ret_message->head, (const uint8_t *)words + SOURCE_HEAD - text, text);
	ret_message->head_n = (uint32_t)text;
	ret_message->body = s->bytes;
	ret_message->body_n = 0;
	ret_message->terminator = (const uint8_t *)"\n";
	ret_message->terminator_n = 1;
}
