#pragma once

/*
 * The probes of ackc ping, sent one at a time, and the connection that they share. The report
 * records and prints each probe when its outcome is known.
 */

#include "ackc/message/scout.h"
#include "ackc/message/verify.h"
#include "ackc/net/dial.h"
#include "ackc/ping/report.h"

enum prober_phase { PROBER_IDLE, PROBER_PROBING, PROBER_FAREWELL };

struct prober {
	const struct options *options;
	struct ping_report *report;
	uv_loop_t *loop;
	void (*on_done)(struct prober *b);
	void *data;	 /* for the owner */
	uv_timer_t wait; /* timeout for the reply or the server's close */
	const struct addresses *addresses;
	struct scout *scout;
	struct dial *dial;
	uv_stream_t *stream; /* NULL: not connected */
	uv_shutdown_t shutdown_request;
	struct source source;
	struct shape shape;
	bool shape_known;
	struct shape own_shape; /* the connection's own shape, if it differs */
	struct greeting greeting;
	struct verifier verifier;
	enum prober_phase phase;
	bool asked;   /* the probe is written or being written */
	uint64_t seq; /* of the current or last probe; from 1 */
	uint64_t asked_ns;
	uint64_t connect_ns;	  /* of the connect made and reported with this probe; or 0 */
	uint64_t quiet_ns;	  /* start of the time in which the connection is idle */
	bool lost;		  /* the peer ended the connection, not prober_hang_up() */
	uint64_t retransmissions; /* of this connection, as reported so far */
	uint64_t got_bytes;
	uint8_t *message;
	char *received;
};

/*
 * Allocates the resources of the prober; @report must outlive it. @on_done is called when a probe
 * has an outcome and when a farewell is over. With --no-reconnect it is also called when the
 * connection ends between two probes. Returns 0 or -ENOMEM; call prober_finish() in both cases.
 */
int prober_init(struct prober *b, const struct options *options, struct ping_report *report,
		void (*on_done)(struct prober *b), void *data);

/* Attaches the prober to a loop. */
void prober_open(struct prober *b, uv_loop_t *loop);

/* Starts the next probe of the server at @addresses, which the caller keeps. */
void prober_begin(struct prober *b, const struct addresses *addresses);

/* Closes the connection, if there is one. The next probe opens a new one. */
void prober_hang_up(struct prober *b);

/*
 * Half-closes the connection and checks whatever arrives after it, all of which is unsolicited.
 * Returns false if there is no connection: then the farewell is already over.
 */
bool prober_farewell(struct prober *b);

/* Cancels any probe and closes everything open on the loop. */
void prober_close(struct prober *b);

/* Frees the resources of prober_init(). The loop must not use the prober any more. */
void prober_finish(struct prober *b);
