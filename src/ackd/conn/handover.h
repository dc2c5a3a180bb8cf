#pragma once

/* Hands connections over to the next process, and takes them over from the previous one. */

#include "ackd/handover/handover.h"

struct listener;
struct reactor;

/*
 * Hands over the connections of one segment. Returns whether more may remain. Call it again in
 * another loop iteration, after this one has freed its connections.
 */
bool reactor_hand_over(struct reactor *reactor, struct handover *handover);

/*
 * Restores a connection that was handed over, if its peer may still be served. Takes @fd; a failure
 * closes it.
 */
void conn_restore(struct listener *listener, int fd, const struct state_connection *from);
