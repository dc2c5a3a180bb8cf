#pragma once

/*
 * The probes of ackc ping, one at a time, and the connection that they share. Each is counted and
 * said by the report when its outcome is known.
 */

#include "ackc/message/scout.h"
#include "ackc/message/verify.h"
#include "ackc/net/dial.h"
#include "ackc/ping/report.h"

enum prober_phase { PROBER_IDLE, PROBER_PROBING, PROBER_FAREWELL };

struct prober {
	const struct ping_options *options;
	struct ping_report *report;
	uv_loop_t *loop;
	void (*on_done)(struct prober *b);
	void *data;	 /* the owner's */
	uv_timer_t wait; /* for the reply, or the server's end */
	const struct addresses *addresses;
	struct scout *scout;
	struct dial *dial;
	uv_stream_t *stream; /* NULL: not connected */
	uv_shutdown_t shutdown_request;
	struct source source;
	struct shape shape;
	bool shape_known;
	struct shape own_shape; /* the connection's, if it has something of its own */
	struct greeting greeting;
	struct verifier verifier;
	enum prober_phase phase;
	bool asked;   /* the probe is written, or being written */
	uint64_t seq; /* of the probe under way, or of the last one; from 1 */
	uint64_t asked_ns;
	uint64_t connect_ns; /* of the connect that this probe made and the user is to see; or 0 */
	uint64_t quiet_ns;   /* since when nothing is under way on the connection */
	bool lost;	     /* the connection has ended, and not by prober_hang_up() */
	uint64_t retransmissions; /* of this connection, so far as they were reported */
	uint64_t got_bytes;
	uint8_t *message;
	char *received;
};

/*
 * Allocates what probes need; @report outlives the prober. @on_done is called when a probe that was
 * begun has had its outcome, when a farewell is over, and with --no-reconnect also when the
 * connection has ended between two probes. Returns 0 or -ENOMEM; prober_finish()
 * is due in either case.
 */
int prober_init(struct prober *b, const struct ping_options *options, struct ping_report *report,
		void (*on_done)(struct prober *b), void *data);

/* Puts it on a loop. */
void prober_open(struct prober *b, uv_loop_t *loop);

/* Begins the next probe of the server at @addresses, which stay the caller's. */
void prober_begin(struct prober *b, const struct addresses *addresses);

/* Closes the connection, if there is one: the next probe begins with another. */
void prober_hang_up(struct prober *b);

/*
 * Half-closes the connection, and looks at what still comes: nobody asked for it. Returns false
 * when there is no connection: then it is over already.
 */
bool prober_farewell(struct prober *b);

/* Gives up whatever is under way and closes all that is open on the loop. */
void prober_close(struct prober *b);

/* Frees what prober_init() has allocated; the loop is done with it. */
void prober_finish(struct prober *b);
