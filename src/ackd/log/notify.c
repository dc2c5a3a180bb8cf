#include "ackd/log/notify.h"

#include "ackd/log/thread.h"
#include "ackd/systemd/systemd.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* More than there are names of notifications that ackd sends: READY= and so on. */
#define NOTES_MAX 16
#define NOTE_SIZE 512

static struct log_thread thread = LOG_THREAD_INITIALIZER;
static char notes[NOTES_MAX][NOTE_SIZE]; /* oldest first */
static size_t n_notes;

static void notes_remove(size_t i)
{
	n_notes--;
	memmove(notes[i], notes[i + 1], (n_notes - i) * sizeof(notes[0]));
}

static void notes_push(const char note[NOTE_SIZE])
{
	size_t n_name = strcspn(note, "=") + 1, i = 0;

	while (i < n_notes && strncmp(notes[i], note, n_name) != 0)
		i++;
	if (i < n_notes)
		notes_remove(i);
	else if (n_notes == NOTES_MAX)
		notes_remove(0);
	memcpy(notes[n_notes++], note, NOTE_SIZE);
}

static void notify_run(void)
{
	char note[NOTE_SIZE];

	pthread_mutex_lock(&thread.mutex);
	while (thread.state != LOG_THREAD_ABANDONED) {
		if (n_notes > 0) {
			memcpy(note, notes[0], NOTE_SIZE);
			notes_remove(0);
			pthread_mutex_unlock(&thread.mutex);
			systemd_notify(note);
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
	char note[NOTE_SIZE] = "";
	bool now;
	va_list ap;

	va_start(ap, format);
	vsnprintf(note, sizeof(note), format, ap);
	va_end(ap);

	pthread_mutex_lock(&thread.mutex);
	now = thread.state == LOG_THREAD_OFF;
	if (thread.state == LOG_THREAD_ON || thread.state == LOG_THREAD_STOPPING) {
		notes_push(note);
		pthread_cond_broadcast(&thread.changed);
	}
	pthread_mutex_unlock(&thread.mutex);
	if (now)
		systemd_notify(note);
}
