/*
 * A connection that a load balancer has opened for a client. Until the PROXY header is complete it
 * counts towards max_connections, but not towards max_connections_per_address. The client then
 * takes over this place, and is admitted or refused as if it had connected itself.
 */

#include "ackd/conn/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Placeholder address for limits until the client is known. */
static const struct address nobody = {.family = AF_UNIX};

struct conn *conn_proxy_open(struct listener *listener, int fd, const struct address *address)
{
	struct sockaddr_storage peer;
	enum refusal refusal;
	struct conn *c;

	address_to_sockaddr(address, &peer);
	if (cidr_list_match(&listener->settings->proxies, (struct sockaddr *)&peer) < 0) {
		listener_count_refusal(listener, address, REFUSAL_DENIED, NULL);
		close(fd);
		return NULL;
	}
	refusal = limits_admit(listener->reactor->limits, &nobody);
	if (refusal != REFUSAL_NONE) {
		listener_count_refusal(listener, address, refusal, NULL);
		conn_refuse(listener, fd, address, refusal);
		return NULL;
	}
	c = conn_create(listener, fd, address, PLACE_PROXY, listener_has_tls(listener));
	if (c)
		conn_move(c, CONN_PROXY_HEADER);
	return c;
}

void conn_proxy_fail(struct conn *c, const char *reason)
{
	listener_count_refusal(conn_listener(c), &c->address, REFUSAL_PROXY, reason);
	conn_close(c, CONN_PROXY);
}

void conn_proxy_end(struct conn *c, const char *reason)
{
	if (c->pending) {
		conn_proxy_fail(c, reason);
		return;
	}
	counter_add(conn_listener(c)->counters, COUNTER_HEALTH_CHECKS, 1);
	conn_log_health_check(c);
	conn_close(c, CONN_END);
}

/* Refuses @c for lack of memory for its header. */
static void conn_proxy_fail_memory(struct conn *c, enum conn_reason reason)
{
	listener_count_refusal(conn_listener(c), &c->address, REFUSAL_MEMORY,
			       conn_reason_name(reason));
	conn_close(c, reason);
}

/* Admits or refuses the client that @header identifies. @p is the header's text. */
static void conn_proxy_admit(struct conn *c, const struct proxy_header *header, const uint8_t *p)
{
	char proxy_id[TEMPLATE_PROXY_ID_MAX + 1], authority[TEMPLATE_AUTHORITY_MAX + 1];
	char local[TEMPLATE_LOCAL_MAX + 1] = "";
	const struct conn_names names = {proxy_id, authority, local, ""};
	enum refusal refusal;

	proxy_text(p, &header->unique_id, proxy_id, sizeof(proxy_id));
	proxy_text(p, &header->authority, authority, sizeof(authority));
	if (header->has_source) {
		c->address = address_from_sockaddr((const struct sockaddr *)&header->source);
		conn_local_text((const struct sockaddr *)&header->destination, local);
	}
	conn_pending_free(c);
	refusal = listener_admit(conn_listener(c), &c->address, true);
	if (refusal == REFUSAL_NONE) {
		conn_set_place(c, PLACE_CLIENT);
		conn_begin(c, &names);
		return;
	}
	conn_release_place(c);
	if (listener_may_tell(conn_listener(c), refusal)) {
		conn_set_place(c, PLACE_REFUSAL);
		conn_tell_refusal(c, &names);
	} else {
		conn_close(c, CONN_REFUSED);
	}
}

/*
 * Stores the beginning of a header. Bytes above PROXY_HEADER_MAX are dropped; the parser rejects
 * such a header. Returns false without memory, after closing @c.
 */
static bool conn_proxy_keep(struct conn *c, const uint8_t *p, size_t n)
{
	size_t length = c->pending ? c->pending->length : 0;
	int r = 0;

	if (n > PROXY_HEADER_MAX - length)
		n = PROXY_HEADER_MAX - length;
	if (!c->pending || length + n > c->pending->capacity)
		r = conn_pending_reserve(c, length + n <= PROXY_PENDING_MIN ? PROXY_PENDING_MIN
									    : PROXY_HEADER_MAX);
	if (r < 0) {
		conn_proxy_fail_memory(c, r == -ENOBUFS ? CONN_MEMORY_BUDGET : CONN_MEMORY);
		return false;
	}
	memcpy(c->pending->bytes + length, p, n);
	c->pending->length += (uint32_t)n;
	return true;
}

size_t conn_proxy_read(struct conn *c, const uint8_t *p, size_t n)
{
	size_t before = c->pending ? c->pending->length : 0;
	const uint8_t *begin = p;
	struct proxy_header header;
	const char *reason;
	enum proxy_status status;

	/* the first read nearly always contains the whole header */
	if (before > 0) {
		if (!conn_proxy_keep(c, p, n))
			return n;
		begin = c->pending->bytes;
	}
	status = proxy_parse(begin, before > 0 ? c->pending->length : n, &header, &reason);
	switch (status) {
	case PROXY_MORE:
		if (before == 0)
			conn_proxy_keep(c, p, n);
		return n;
	case PROXY_INVALID:
		conn_proxy_fail(c, reason);
		return n;
	case PROXY_COMPLETE:
		break;
	}
	conn_proxy_admit(c, &header, begin);
	return header.length - before;
}
