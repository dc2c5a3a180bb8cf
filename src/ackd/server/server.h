#pragma once

/*
 * The daemon as a whole: owns the workers and the listening sockets, and turns signals into reload
 * and drain. Everything here runs in the main thread. server.c is its life, ending.c its end,
 * apply.c puts configurations into effect, reload.c other ones in a running daemon, succession.c
 * passes on from one process to the next, report.c says how things are.
 */

#include "ackd/log/log.h"
#include "ackd/metrics/metrics.h"
#include "ackd/server/control.h"
#include "ackd/server/exit_status.h"
#include "ackd/sockets/preparation.h"
#include "ackd/sockets/setup.h"
#include "ackd/worker/worker.h"

#include <stdatomic.h>
#include <uv.h>

/* Returns the exit status that a negative errno of setup_prepare() or setup_bind() stands for. */
enum exit_status exit_status_of(int error);

/*
 * Runs the daemon until a signal ends it. @path and @port are those of config_load(). Returns the
 * exit status; errors have been logged.
 */
enum exit_status server_run(const char *path, int port);

enum { SERVER_N_SIGNALS = 5 };

enum server_phase {
	SERVER_STARTING,
	SERVER_RUNNING,
	SERVER_DRAINING,
	SERVER_HANDING_OVER,
	SERVER_STOPPING,
};

/* A reload under way. */
struct reload {
	struct preparation *preparation; /* NULL once it is done */
	bool running;
	bool again; /* SIGHUP came while it ran, or before the start was over */
	struct setup *setup;
	char *errors; /* lines */
};

/* How far a change is. In the phases with (*) the main thread waits for all workers. */
enum change_phase {
	CHANGE_NONE,
	CHANGE_OPENING,	 /* (*) the workers open the new sockets */
	CHANGE_UNDOING,	 /* (*) one could not: they close them again */
	CHANGE_APPLYING, /* (*) they carry out their plans */
	CHANGE_RETIRING, /* it is in effect; the retired sockets complete their handshakes */
	CHANGE_CLOSING,	 /* (*) the workers close the retired sockets */
};

/* A configuration that is being put into effect. */
struct change {
	enum change_phase phase;
	struct config *config; /* the reload's, or at start the server's */
	struct bound bound;    /* its sockets, until they are the server's, or unwanted */
	struct bound metrics;  /* the same for the metrics */
	int error;
};

/* How busy the workers were in the last interval. */
struct worker_load {
	uint64_t at_ns;	  /* when that was looked at */
	uint64_t *cpu_ns; /* per worker: CPU time used until then */
	double *ratios;	  /* per worker */
};

struct server {
	uv_loop_t loop;
	uv_signal_t signals[SERVER_N_SIGNALS];
	uv_async_t async;    /* news from workers */
	uv_async_t prepared; /* news from a preparation, of the start or of a reload */
	uv_timer_t status_timer;
	uv_timer_t watchdog_timer;
	uv_timer_t drain_timer;
	uv_timer_t retired_timer;
	uint64_t drain_deadline_ms;
	const char *path;
	int port;
	struct config *config;	  /* in force */
	struct binding *bindings; /* its sockets */
	struct binding *unwanted; /* sockets to be closed once no worker has them any more */
	struct change change;
	struct systemd_fd *passed; /* by the service manager, until they are adopted */
	size_t n_passed;
	struct systemd_fd *handed; /* those of them that a hand-over is made of */
	size_t n_handed;
	struct takeover takeover; /* from the process before, until it is taken up */
	struct handover handover; /* to the next one */
	unsigned handing_over;	  /* the worker that hands over its connections now */
	struct limits limits;
	struct worker *workers;
	unsigned n_workers;
	unsigned n_started;
	uint64_t *turns;	    /* of each worker, at the last look */
	struct counters **counters; /* per listener of the configuration being applied */
	enum server_phase phase;
	int end_signal;		      /* is to be acted on once the start is over */
	bool term_follows;	      /* SIGUSR2 came; in a restart SIGTERM is next */
	enum exit_status exit_status; /* of a start that fails where it is now */
	struct reload reload;
	struct control control; /* requests to reload */
	uint64_t reloads_done;
	uint64_t reloads_failed;
	struct metrics *metrics;	  /* NULL until they are wanted */
	struct binding *metrics_bindings; /* their sockets */
	struct binding *metrics_unwanted; /* to be closed with @unwanted */
	struct worker_load load;

	/* written by workers */
	_Atomic unsigned n_applied; /* how many have done a step of the change */
	_Atomic unsigned n_not_accepting;
	_Atomic unsigned n_handed_over;
	_Atomic unsigned n_ended;
	_Atomic int open_error;

	int start_error; /* the workers could not begin */
};

/*
 * Finds or makes the sockets of @setup, also those of the metrics: the beginning of a change.
 * Errors are lines to @errors. Returns 0, or a negative errno and everything as before.
 */
int server_bind(struct server *server, const struct setup *setup, FILE *errors);

/*
 * Goes on with the change after server_bind(): sends the plans for the configuration of @setup, and
 * at start for the connections that were handed over, to all workers. When they have done a step,
 * server_applied() is to be called. Returns 0, or a negative errno and everything as before.
 */
int server_apply(struct server *server, const struct setup *setup);

/*
 * All workers have done a step of the change: orders the next one. Returns whether there is an
 * outcome now: 0, or a negative errno and everything as before. After that, a change may go on to
 * close its retired sockets; server_is_changing() tells.
 */
bool server_applied(struct server *server, int *ret_error);

/* Whether a change is under way: there is one at a time. */
bool server_is_changing(const struct server *server);

/*
 * Drops the counters of listeners that the configuration in force does not have, except while
 * connections use them: the end of every change.
 */
void server_drop_counters(const struct server *server);

/*
 * Ends the daemon as the signal @signum asks: SIGUSR2 by a hand-over, another one by draining; a
 * second one at once, except the SIGTERM that follows SIGUSR2 in a restart. Before the daemon is
 * ready, SIGUSR2 changes nothing; another one ends the start, or is noted for server_ready() to act
 * on when workers may have connections already.
 */
void server_end(struct server *server, int signum);

/* Closes everything at once. Idempotent. */
void server_stop(struct server *server);

/*
 * Begins to hand the connections over to the next process. Returns 0, or a negative errno, which
 * has been logged, and nothing changed.
 */
int server_hand_over(struct server *server);

/* Goes on with the next worker when one is done; after the last one everything is stored. */
void server_hand_over_next(struct server *server);

/*
 * Takes what the service manager passed. Call it before the process opens anything, so that nothing
 * of its own is taken for what was passed, and before there are threads: it changes the
 * environment. Returns 0, or a negative errno with a line to @errors.
 */
int server_take_passed(struct server *server, FILE *errors);

/* Closes what was passed and not adopted or taken up. */
void server_close_passed(struct server *server);

/*
 * Makes use of what was passed: what the process before has left in the store, and the sockets of
 * socket activation. Returns 0, -EINVAL with lines to @errors, or another negative errno.
 */
int server_adopt(struct server *server, const struct setup *setup, FILE *errors);

/*
 * Returns how many descriptors are left for connections, during a change after server_bind().
 */
uint64_t server_descriptor_room(const struct server *server);

/* Counts and logs that a connection of the process before is closed for @reason. */
void server_count_lost(const struct state_connection *state, const char *reason);

/* Reads what was handed over; whatever is wrong with it is logged, and never stops the start. */
void server_take_over(struct server *server);

/* Begins a reload, or notes that another is wanted once the one under way has ended. */
void reload_request(struct server *server);

/* Goes on with the reload under way if it is prepared now. */
void reload_prepared(struct server *server);

/* Ends a reload that is still being prepared, without waiting: there will be no loop for it. */
void reload_cancel(struct server *server);

/* Ends the reload under way, whose plans have been applied with the outcome @error. */
void reload_applied(struct server *server, int error);

/* Makes room for reports about the workers. Returns 0 or -ENOMEM. */
int report_init(struct server *server);

/* Starts the timers that tell the service manager the status and feed its watchdog. */
void report_start(struct server *server);

/*
 * Serves metrics where @setup says, too: part of a change. Errors are lines to @errors. Returns 0,
 * or a negative errno and everything as before.
 */
int report_metrics_bind(struct server *server, const struct setup *setup, FILE *errors);

/*
 * Serves metrics where the change says, or only where it was before. The sockets that are not
 * wanted any more are retired, and report_metrics_close() closes them.
 */
void report_metrics_take(struct server *server);
void report_metrics_undo(struct server *server);
void report_metrics_close(struct server *server);

/* Releases what reports are made of; the loop has closed all handles. */
void report_finish(struct server *server);

/* Tells the service manager the status now. */
void report_status(struct server *server);

/* Logs the counters of every listener. */
void report_stats(void);

/* Logs each line of @lines, which it takes apart, as an error; after @max how many more there are.
 */
void report_lines(enum log_event event, char *lines, unsigned max);
