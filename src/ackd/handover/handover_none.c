/*
 * Systems without memory files that can be sealed, or without systemd, hand nothing over. Only
 * handover_queue() is called of the outgoing side: connections are drained when it fails. Nothing
 * arrives on the incoming side, because no descriptor belongs to a hand-over.
 */

#include "ackd/handover/handover.h"

#include <errno.h>

/* ---- the outgoing side ---- */

int handover_queue(int *ret_writing, int *ret_reading)
{
	return -ENOTSUP;
}

int handover_store(int writing, int reading)
{
	return -ENOTSUP;
}

void handover_init(struct handover *handover, int writing, const struct limits *limits,
		   unsigned n_workers)
{
}

void handover_cancel(struct handover *handover)
{
}

bool handover_closes(const struct handover *handover, int fd)
{
	return false;
}

int handover_begin(struct handover *handover, const char *listener)
{
	return -ENOTSUP;
}

int handover_put(struct handover *handover, const void *p, size_t n)
{
	return -ENOTSUP;
}

int handover_end(struct handover *handover, struct state_record *record)
{
	return -ENOTSUP;
}

bool handover_is_full(const struct handover *handover)
{
	return false;
}

int handover_send(struct handover *handover, const int *fds)
{
	return -ENOTSUP;
}

void handover_name_counters(struct handover *handover, const char *names, uint32_t length,
			    uint32_t n)
{
}

int handover_add_counters(struct handover *handover, const char *listener, const uint64_t *values)
{
	return -ENOTSUP;
}

int handover_complete(struct handover *handover)
{
	return -ENOTSUP;
}

void handover_finish(struct handover *handover)
{
}

/* ---- the incoming side ---- */

bool takeover_is_part(const struct systemd_fd *fd)
{
	return false;
}

int takeover_withdraw(void)
{
	return 0;
}

int takeover_init(struct systemd_fd *fds, size_t n, int withdrawn, uint64_t max_fds,
		  struct takeover *ret_takeover)
{
	return -ENOTSUP;
}

bool takeover_take(struct takeover *takeover, struct takeover_connection *ret_connection)
{
	return false;
}

bool takeover_drop(struct takeover *takeover, struct takeover_connection *ret_connection)
{
	return false;
}

void takeover_release(struct takeover_connection *connection)
{
}

void takeover_finish(struct takeover *takeover)
{
}
