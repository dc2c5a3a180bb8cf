/*
 * Builds without OpenSSL have no connections with TLS. Only conn_tls_init() is called: for a
 * connection that a process with OpenSSL has handed over.
 */

#include "ackd/conn/internal.h"

#include <errno.h>

const size_t conn_tls_bytes = 0;
const size_t conn_tls_thread_bytes = 0;
const size_t conn_tls_saved_bytes = 0;
const char conn_tls_lack[] = "this ackd was built without TLS";

int conn_tls_init(struct conn *c)
{
	return -ENOTSUP;
}

void conn_tls_begin(struct conn *c)
{
}

size_t conn_tls_read_size(const struct conn *c)
{
	return SESSION_READ_MAX;
}

uint64_t conn_tls_tick(struct reactor *reactor)
{
	return UINT64_MAX;
}

bool conn_tls_work(struct reactor *reactor)
{
	return false;
}

void conn_tls_flight_sent(struct conn *c)
{
}

void conn_tls_refuse(struct conn *c, enum tls_result result, const char *reason)
{
}

void conn_tls_refuse_memory(struct conn *c, int error)
{
}

void conn_tls_take(struct conn *c, const uint8_t *data, size_t n)
{
}

void conn_tls_answer(struct conn *c, const uint8_t *data, size_t n, uint64_t now_ms)
{
}

void conn_tls_turn_end(struct reactor *reactor)
{
}

int conn_tls_send(struct conn *c, struct session_io *io)
{
	return -ENOTSUP;
}

void conn_tls_cut_output(struct conn *c)
{
}

bool conn_tls_must_close(const struct conn *c)
{
	return false;
}

bool conn_tls_end_output(struct conn *c)
{
	return false;
}

int conn_tls_save_output(struct conn *c, struct session_io *io, struct handover *handover)
{
	return -ENOTSUP;
}

bool conn_tls_has_failed(const struct conn *c)
{
	return false;
}

void conn_tls_fail(struct conn *c)
{
}

bool conn_tls_is_ending(const struct conn *c)
{
	return false;
}

int conn_tls_save_end(struct conn *c, struct session_io *io, struct handover *handover, size_t most)
{
	return -ENOTSUP;
}

int conn_tls_save(struct conn *c, struct handover *handover)
{
	return -ENOTSUP;
}

size_t conn_tls_held_bytes(const struct conn *c)
{
	return 0;
}

int conn_tls_restore(struct conn *c, const uint8_t *p, size_t n)
{
	return -ENOTSUP;
}

bool conn_tls_suffices(const struct conn *c)
{
	return true;
}

void conn_tls_close(struct conn *c)
{
}

struct conn_tls_terms conn_tls_terms(const struct conn *c)
{
	return (struct conn_tls_terms){0};
}

const char *conn_tls_alert_name(uint8_t alert)
{
	return "";
}

const char *conn_tls_verdict(int verdict)
{
	return "";
}

void conn_tls_release(struct reactor *reactor)
{
}
