#include "ackd/log/notify.h"

#include "ackd/log/log.h"
#include "ackd/log/thread.h"
#include "ackd/systemd/systemd.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * The capacity of the queue. It contains at most one of each repeated notification. The others fill
 * it only if the manager is blocked during several reloads. A new one then replaces the newest, so
 * the last notification that the manager receives is correct.
 */
#define NOTES_MAX 16
#define NOTE_SIZE 512

struct note {
	int repeated; /* index in repeated_names; -1: not repeated */
	char text[NOTE_SIZE];
};

static const char *const repeated_names[] = {"STATUS=", "WATCHDOG=", "EXTEND_TIMEOUT_USEC="};

static struct log_thread thread = LOG_THREAD_INITIALIZER;
static struct note notes[NOTES_MAX]; /* oldest first */
static size_t n_notes;

static int repeated_of(const char *text)
{
	if (strchr(text, '\n'))
		return -1;
	for (size_t i = 0; i < sizeof(repeated_names) / sizeof(repeated_names[0]); i++)
		if (strncmp(text, repeated_names[i], strlen(repeated_names[i])) == 0)
			return (int)i;
	return -1;
}

static void notes_remove(size_t i)
{
	n_notes--;
	memmove(&notes[i], &notes[i + 1], (n_notes - i) * sizeof(notes[0]));
}

static void notes_push(const struct note *note)
{
	if (note->repeated >= 0) {
		for (size_t i = 0; i < n_notes; i++)
			if (notes[i].repeated == note->repeated) {
				notes_remove(i);
				break;
			}
		if (n_notes == NOTES_MAX)
			return;
	} else if (n_notes == NOTES_MAX) {
		size_t i = NOTES_MAX - 1;

		while (notes[i].repeated >= 0)
			i--;
		notes_remove(i);
	}
	notes[n_notes++] = *note;
}

static void notify_run(void)
{
	struct note note;

	pthread_mutex_lock(&thread.mutex);
	while (thread.state != LOG_THREAD_ABANDONED) {
		if (n_notes > 0) {
			note = notes[0];
			notes_remove(0);
			pthread_mutex_unlock(&thread.mutex);
			systemd_notify(note.text);
			pthread_mutex_lock(&thread.mutex);
		} else if (thread.state == LOG_THREAD_STOPPING) {
			break;
		} else {
			log_thread_wait(&thread, 0);
		}
	}
	pthread_mutex_unlock(&thread.mutex);
}

int log_notify_start(void)
{
	return systemd_notify_wanted() ? log_thread_start(&thread, "ackd-notify", notify_run) : 0;
}

void log_notify_stop(void)
{
	log_thread_stop(&thread);
}

void log_notify_join(uint64_t deadline_us)
{
	log_thread_join(&thread, deadline_us);
}

void log_notify(const char *format, ...)
{
	struct note note;
	bool now;
	va_list ap;

	va_start(ap, format);
	vsnprintf(note.text, sizeof(note.text), format, ap);
	va_end(ap);
	note.repeated = repeated_of(note.text);

	pthread_mutex_lock(&thread.mutex);
	now = thread.state == LOG_THREAD_OFF;
	if (thread.state == LOG_THREAD_ON || thread.state == LOG_THREAD_STOPPING) {
		notes_push(&note);
		pthread_cond_signal(&thread.changed);
	}
	pthread_mutex_unlock(&thread.mutex);
	if (now)
		systemd_notify(note.text);
}
