#pragma once

/*
 * The daemon as a whole: owns the workers and the listening sockets, and handles signals.
 * Everything here runs in the main thread. server.c contains start and main loop, ending.c the end,
 * apply.c the application of a configuration, reload.c the reload, succession.c the hand-over
 * between processes, report.c status, metrics and statistics.
 */

#include "ackd/log/log.h"
#include "ackd/log/notify.h"
#include "ackd/metrics/metrics.h"
#include "ackd/server/control.h"
#include "ackd/server/exit_status.h"
#include "ackd/sockets/candidate.h"
#include "ackd/sockets/socket_set.h"
#include "ackd/worker/worker.h"

#include <stdatomic.h>
#include <uv.h>

/*
 * Returns the exit status for a result (0 or a negative errno) of candidate_read() or
 * socket_set_bind().
 */
enum exit_status exit_status_of(int error);

/*
 * Runs the daemon until a signal ends it. See config_load() for @path and @port. Returns the exit
 * status; errors have been logged.
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
	struct candidate_job *job; /* NULL when done */
	bool running;
	bool again; /* SIGHUP arrived during a reload or the start */
	struct candidate *candidate;
	char *errors; /* lines */
};

/* The phase of a change. In phases marked (*) the main thread waits for all workers. */
enum change_phase {
	CHANGE_NONE,
	CHANGE_OPENING,	 /* (*) the workers open the new sockets */
	CHANGE_UNDOING,	 /* (*) opening failed: the workers close them again */
	CHANGE_APPLYING, /* (*) the workers carry out their plans */
	CHANGE_RETIRING, /* in effect; the retired sockets complete their handshakes */
	CHANGE_CLOSING,	 /* (*) the workers close the retired sockets */
};

/* A change: a configuration that is being put into effect. */
struct change {
	enum change_phase phase;
	struct config *config; /* the reload's, or the server's during the start */
	int error;
};

/* The load of the workers in the last interval. */
struct worker_load {
	uint64_t at_ns;	  /* time of the last sample */
	uint64_t *cpu_ns; /* per worker: CPU time used up to then */
	double *ratios;	  /* per worker: share of one CPU */
};

struct server {
	uv_loop_t loop;
	uv_signal_t signals[SERVER_N_SIGNALS];
	uv_async_t async;    /* sent by workers */
	uv_async_t prepared; /* sent when a candidate is read, of the start or of a reload */
	uv_timer_t status_timer;
	uv_timer_t watchdog_timer;
	uv_timer_t drain_timer;
	uv_timer_t retired_timer;
	uint64_t drain_deadline_ms;
	const char *path;
	int port;
	struct config *config; /* in effect */
	struct socket_set sockets;
	struct change change;
	struct systemd_fd *passed; /* passed by the service manager, until they are adopted */
	size_t n_passed;
	struct systemd_fd *handed; /* those that belong to a hand-over */
	size_t n_handed;
	struct takeover takeover; /* from the previous process, until restored */
	struct handover handover; /* to the next process */
	unsigned handing_over;	  /* index of the worker that is handing over */
	struct limits limits;
	struct worker *workers;
	unsigned n_workers;
	unsigned n_started;
	uint64_t *turns;	    /* per worker: turns at the last watchdog check */
	struct counters **counters; /* per listener of the configuration being applied */
	enum server_phase phase;
	int end_signal;		      /* handled when the start is complete */
	bool term_follows;	      /* SIGUSR2 arrived; in a restart SIGTERM follows */
	enum exit_status exit_status; /* for a failure at the present stage of the start */
	struct reload reload;
	struct control control; /* requests to reload */
	uint64_t reloads_done;
	uint64_t reloads_failed;
	struct metrics *metrics; /* NULL until metrics are configured */
	struct worker_load load;

	/* written by workers */
	_Atomic unsigned n_applied; /* workers that have completed a step of the change */
	_Atomic unsigned n_not_accepting;
	_Atomic unsigned n_handed_over;
	_Atomic unsigned n_ended;
	_Atomic int open_error;

	int start_error; /* error of a start whose plans could not be applied */
};

/*
 * Begins a change: finds or creates the sockets of @candidate. Errors
 * are written to @errors as lines. Returns 0, or a negative errno with nothing changed.
 */
int server_bind(struct server *server, const struct candidate *candidate, FILE *errors);

/*
 * Continues the change after server_bind(): sends plans for the configuration of @candidate to all
 * workers, at start including the connections that were handed over. When all workers have
 * completed a step, server_applied() must be called. Returns 0, or a negative errno with nothing
 * changed.
 */
int server_apply(struct server *server, const struct candidate *candidate);

/*
 * Continues the change after all workers have completed a step, by ordering the next one. Returns
 * whether the change has a result: *@ret_error is 0, or a negative errno with nothing changed. A
 * successful change may continue afterwards to close its retired sockets, see server_is_changing().
 */
bool server_applied(struct server *server, int *ret_error);

/* Returns whether a change is under way. At most one is at a time. */
bool server_is_changing(const struct server *server);

/*
 * Drops the counters of listeners that the configuration in effect does not contain, unless
 * connections use them. Called at the end of every change.
 */
void server_drop_counters(const struct server *server);

/*
 * Ends the daemon in response to @signum: SIGUSR2 hands over, other signals drain. A second signal
 * closes everything immediately, except the SIGTERM that follows SIGUSR2 in a restart. Signals
 * during a hand-over are ignored. Before the daemon is ready, SIGUSR2 is ignored. Any other signal
 * then ends the start or, if workers may have connections already, is recorded for server_ready().
 */
void server_end(struct server *server, int signum);

/* Closes everything immediately. Idempotent. */
void server_stop(struct server *server);

/*
 * Begins the hand-over to the next process. Returns 0, or a negative errno, which has been logged,
 * with nothing changed.
 */
int server_hand_over(struct server *server);

/*
 * Continues the hand-over with the next worker when one is done, and completes it after the last.
 */
void server_hand_over_next(struct server *server);

/*
 * Takes the descriptors that the service manager passed. Call it before the process opens any
 * descriptor, so that none of its own is mistaken for a passed one, and before other threads exist,
 * because it changes the environment. Returns 0, or a negative errno with a line written to
 * @errors.
 */
int server_take_passed(struct server *server, FILE *errors);

/* Closes passed descriptors that were neither adopted nor restored. */
void server_close_passed(struct server *server);

/*
 * Adopts the passed descriptors: those that the previous process has stored, and those of socket
 * activation. Returns 0, -EINVAL with lines written to @errors, or another negative errno.
 */
int server_adopt(struct server *server, FILE *errors);

/*
 * Returns how many descriptors are available for connections. Call it during a change, after
 * server_bind().
 */
uint64_t server_descriptor_room(const struct server *server);

/* Counts and logs that a connection of the previous process is closed for @reason. */
void server_count_lost(const struct state_connection *state, const char *reason);

/* Reads the hand-over. Errors are logged and never stop the start. */
void server_take_over(struct server *server);

/* Begins a reload, or records the request until the current reload or change has ended. */
void reload_request(struct server *server);

/* Continues the current reload if its preparation is done. */
void reload_prepared(struct server *server);

/*
 * Cancels a reload that is still being prepared, without waiting, because the loop is about to end.
 */
void reload_cancel(struct server *server);

/* Ends the current reload, whose plans have been applied with the result @error. */
void reload_applied(struct server *server, int error);

/* Allocates memory for reports about the workers. Returns 0 or -ENOMEM. */
int report_init(struct server *server);

/* Starts the timers that report the status to the service manager and feed its watchdog. */
void report_start(struct server *server);

/*
 * Makes the metrics accept also on the sockets that they get by the change under way. Returns 0, or
 * a negative errno, which has been logged; then, and after the change, report_metrics_unlisten()
 * must follow.
 */
int report_metrics_listen(struct server *server);

/*
 * Makes the metrics stop accepting on sockets that are not theirs, and with @retired also on
 * retired ones, which may then be closed.
 */
void report_metrics_unlisten(struct server *server, bool retired);

/* Releases the memory for reports and the metrics. The loop must have closed all handles. */
void report_finish(struct server *server);

/* Reports the present status to the service manager. */
void report_status(struct server *server);

/* Logs the counters of every listener. */
void report_stats(void);

/*
 * Logs each line of @lines, which it modifies, as an error. After @max lines it logs how many more
 * there are.
 */
void report_lines(enum log_event event, char *lines, unsigned max);
