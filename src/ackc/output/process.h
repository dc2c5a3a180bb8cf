#pragma once

/*
 * The process: its arguments, standard streams and signals. process_posix.c implements it for POSIX
 * systems, process_windows.c for Windows.
 */

#include <stdbool.h>
#include <stddef.h>

/* The signal by which a user asks for interim results: SIGQUIT, on Windows SIGBREAK. */
extern const int process_signal_interim;

/* Whether programs communicate through UNIX sockets. */
extern const bool process_has_unix_sockets;

/*
 * Prepares the process for a command: arguments are UTF-8, the standard streams are open and do not
 * translate line ends, and a write to a pipe without a reader returns an error. Returns false if it
 * may not open enough files for libuv, which aborts without them.
 */
bool process_prepare(int *argc, char ***argv);

/* Ends the process as any filter ends whose reader has gone, or returns if there is no such way. */
void process_end_as_filter(void);

/* The outcome of a read of standard input. */
enum process_input {
	PROCESS_INPUT_NONE,    /* nothing: it would block */
	PROCESS_INPUT_READY,   /* input, or its end */
	PROCESS_INPUT_UNKNOWN, /* the system cannot report it */
};

enum process_input process_look_at_input(void);

/*
 * Reads at most @n bytes, at least 4096, of standard input, and waits for them. Text that is typed
 * into a terminal is UTF-8 and has lines that end with LF. One thread at a time. Returns how many
 * bytes were read, 0 at the end, or a failure for failure_text().
 */
int process_read_input(char *bytes, size_t n);

/* Ends the process without waiting for its threads. Standard output has been flushed. */
_Noreturn void process_exit(int status);

/* Returns the failure, for failure_text(), of a negative errno. */
int process_failure(int error);
