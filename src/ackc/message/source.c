#include "ackc/message/source.h"

#include "ackc/output/process.h"
#include "base/array.h"
#include "base/descriptors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

int source_generate(size_t size, const struct frame *frame, struct source *ret_source)
{
	bool framed = frame->kind != FRAME_NONE;
	size_t text_n = framed ? size : size - frame_line.end_n;
	size_t n = text_n > SOURCE_HEAD ? text_n - SOURCE_HEAD : 0;
	uint8_t *filling = malloc(n + 1);

	if (!filling)
		return UV_ENOMEM;
	/* Neighbours differ, so that a lost or duplicated byte is detected. */
	for (size_t i = 0; i < n; i++)
		filling[i] = (uint8_t)(i == 0 ? ' ' : 'a' + i * 7 % 26);
	frame = framed ? frame : &frame_line;
	*ret_source = (struct source){
		.frame = frame,
		.framed = framed,
		.size_max = frame->header_n + text_n + frame->end_n,
		.text_n = text_n,
		.bytes = filling,
		.n_bytes = n,
	};
	return 0;
}

int source_read(const char *path, struct source *ret_source)
{
	char *bytes;
	size_t n;
	uv_fs_t request;
	int r;
	/* It takes UTF-8 on Windows, too. */
	int fd = uv_fs_open(NULL, &request, path, UV_FS_O_RDONLY, 0, NULL);

	uv_fs_req_cleanup(&request);
	if (fd < 0)
		return fd;
	r = process_failure(descriptor_read_all(fd, SOURCE_FILE_MAX, &bytes, &n));
	close(fd);
	if (r == 0 && n == 0) {
		free(bytes);
		r = UV_EOF;
	}
	if (r == 0)
		*ret_source = (struct source){
			.frame = &frame_line, .bytes = (uint8_t *)bytes, .n_bytes = n};
	return r;
}

/* Returns the length of the piece at @p: a line, or at most @size bytes of whole characters. */
static size_t piece_length(const uint8_t *p, size_t left, bool lines, size_t size)
{
	size_t n = left < size ? left : size;

	if (lines) {
		const uint8_t *end = memchr(p, '\n', left);

		return end ? (size_t)(end - p) + 1 : left;
	}
	/*
	 * A character has at most three continuation bytes; text with more is not UTF-8 and is cut
	 * anywhere.
	 */
	for (size_t back = 0; n < left && back < 4 && back < n; back++) {
		if ((p[n - back] & 0xC0) != 0x80)
			return n - back;
	}
	return n;
}

static int add_piece(struct source *s, size_t offset, size_t n)
{
	if (s->n_pieces == s->room) {
		size_t room = s->room ? 2 * s->room : 1024;
		void *more = array_resize(s->pieces, room, sizeof(*s->pieces));

		if (!more)
			return UV_ENOMEM;
		s->pieces = more;
		s->room = room;
	}
	s->pieces[s->n_pieces++] = (struct source_piece){(uint32_t)offset, (uint32_t)n};
	return 0;
}

int source_cut(struct source *s, bool lines, size_t size)
{
	int r = 0;

	/* There is room: see descriptor_read_all(). */
	if (lines && s->bytes[s->n_bytes - 1] != '\n')
		s->bytes[s->n_bytes++] = '\n';
	for (size_t offset = 0; r == 0 && offset < s->n_bytes;) {
		size_t n = piece_length(s->bytes + offset, s->n_bytes - offset, lines, size);

		r = add_piece(s, offset, n);
		if (n > s->size_max)
			s->size_max = n;
		offset += n;
	}
	return r;
}

int source_cut_texts(struct source *s, const struct frame *frame, char words[SOURCE_WORDS_MAX])
{
	char why[FRAME_WORDS_MAX];

	s->frame = frame;
	s->framed = true;
	for (size_t offset = 0; offset < s->n_bytes;) {
		const uint8_t *p = s->bytes + offset;
		const uint8_t *end = memchr(p, '\n', s->n_bytes - offset);
		size_t n = end ? (size_t)(end - p) : s->n_bytes - offset;
		size_t size = frame->header_n + n + frame->end_n;

		if (frame_refuses(frame, p, n, why)) {
			snprintf(words, SOURCE_WORDS_MAX, "line %zu: %s", s->n_pieces + 1, why);
			return -EINVAL;
		}
		if (add_piece(s, offset, n) < 0)
			return UV_ENOMEM;
		if (size > s->size_max)
			s->size_max = size;
		offset += n + 1;
	}
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
	/*
	 * Connections start at different pieces, so that replies swapped between them are detected.
	 */
	const struct source_piece *piece = &s->pieces[(index + connection) % s->n_pieces];
	const uint8_t *p = s->bytes + piece->offset;
	uint32_t n = piece->length;

	m->head_n = 0;
	m->terminator_n = 0;
	if (s->framed) {
		m->body = p;
		m->body_n = n;
		m->terminator = s->frame->end;
		m->terminator_n = s->frame->end_n;
		return;
	}
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
	size_t text = s->text_n;

	if (s->pieces) {
		piece_message(s, connection, index, ret_message);
		return;
	}
	/* The last digits of the number, as many as fit. */
	memcpy(ret_message->head, (const uint8_t *)words + SOURCE_HEAD - text, text);
	ret_message->head_n = (uint32_t)text;
	ret_message->body = s->bytes;
	ret_message->body_n = 0;
	ret_message->terminator = s->frame->end;
	ret_message->terminator_n = s->frame->end_n;
}
