#pragma once

/*
 * The cost of a server, read from /proc: the sums over all processes of one session. Children of
 * servers that fork are included while they live.
 */

#include <stdint.h>
#include <sys/types.h>

struct proc_usage {
	uint64_t cpu_ns;	/* time on a processor, from task/TID/schedstat */
	uint64_t anonymous_kib; /* RssAnon: resident memory that belongs to no file */
	unsigned n_processes;
};

/*
 * Adds up the processes of session @session. Returns 0 or a negative errno; -ESRCH when the session
 * has no process. A task on a processor is accounted for up to its last tick: let it sleep first.
 */
int proc_usage_read(pid_t session, struct proc_usage *ret_usage);
