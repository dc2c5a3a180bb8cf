#include "link.h"

#include "tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The most bytes that exchange() sends before it receives. */
#define PIECE ((size_t)16384)

int link_begin(struct link *link, const struct options *options)
{
	*link = (struct link){.fd = dial(options->port)};
	if (link->fd < 0) {
		fprintf(stderr, "connect: %s\n", strerror(-link->fd));
		return 1;
	}
	if (!options->tls)
		return 0;
	link->tls = tls_create(link->fd);
	if (link->tls && tls_handshake(link->tls) >= 0)
		return 0;
	link_close(link);
	return 1;
}

int link_establish(struct link *link)
{
	int r;

	if (!link->tls)
		return 0;
	while ((r = tls_handshake(link->tls)) == 0 && tls_wait(link->tls) == 0) {
	}
	if (r == 1)
		return 0;
	fputs("the handshake failed\n", stderr);
	return 1;
}

int link_open(struct link *link, const struct options *options)
{
	int r = link_begin(link, options);

	if (r != 0)
		return r;
	r = link_establish(link);
	if (r != 0)
		link_close(link);
	return r;
}

ssize_t link_send(struct link *link, const uint8_t *p, size_t n, int flags)
{
	return link->tls ? tls_send(link->tls, p, n, flags)
			 : send(link->fd, p, n, MSG_NOSIGNAL | flags);
}

ssize_t link_recv(struct link *link, uint8_t *p, size_t n, int flags)
{
	return link->tls ? tls_recv(link->tls, p, n, flags) : recv(link->fd, p, n, flags);
}

void link_end_output(struct link *link)
{
	if (link->tls)
		tls_end_output(link->tls);
	else
		shutdown(link->fd, SHUT_WR);
}

void link_close(struct link *link)
{
	if (link->tls)
		tls_destroy(link->tls);
	close(link->fd);
}

int exchange(struct link *link, const struct corpus *corpus, size_t start, size_t lines)
{
	const uint8_t *out = corpus->sent + start * corpus->line_bytes;
	const uint8_t *expected = corpus->replies + start * corpus->reply_bytes;
	size_t n_out = lines * corpus->line_bytes, n_in = lines * corpus->reply_bytes;
	size_t sent = 0, received = 0;
	uint8_t buffer[65536];

	while (received < n_in) {
		ssize_t n;

		/* A piece at a time, so that the two directions cannot block each other. */
		if (sent < n_out) {
			size_t piece = n_out - sent < PIECE ? n_out - sent : PIECE;

			n = link_send(link, out + sent, piece, 0);
			if (n < 0) {
				fprintf(stderr, "send: %s\n", strerror(errno));
				return 1;
			}
			sent += (size_t)n;
		}
		n = link_recv(link, buffer, sizeof buffer, sent < n_out ? MSG_DONTWAIT : 0);
		if (n < 0 && sent < n_out && errno == EAGAIN)
			continue;
		if (n <= 0) {
			fprintf(stderr, "recv: %s\n", n < 0 ? strerror(errno) : "closed early");
			return 1;
		}
		if ((size_t)n > n_in - received ||
		    memcmp(buffer, expected + received, (size_t)n) != 0) {
			fprintf(stderr, "wrong reply after %zu bytes\n", received);
			return 2;
		}
		received += (size_t)n;
	}
	return 0;
}
