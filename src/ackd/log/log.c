/*
 * log_post() formats an entry and copies it to the ring, and the thread writes it. Possible
 * failures:
 *
 * - A kind exceeds its rate: its events are counted without being formatted. SUPPRESSED_EVERY_US
 *   after the first suppressed event, an entry reports the number.
 * - The ring is full because the reader of the log is blocked: dropped entries are counted. The
 *   next entry that fits carries the count, so it is reported where the entries are missing.
 * - Writing an entry fails: it is counted, and reported with the next one that can be written.
 * - A write blocks forever: log_stop() gives up and abandons the thread.
 */

#include "ackd/log/log.h"

#include "ackd/log/internal.h"
#include "ackd/log/notify.h"
#include "ackd/log/thread.h"
#include "ackd/systemd/systemd.h"
#include "base/clock.h"
#include "base/plural.h"

#include <inttypes.h>
#include <stdio.h>

#define RING_ENTRIES 512
/*
 * Limit for kinds that clients can cause; the rest is reserved for events about the daemon itself.
 */
#define RING_ENTRIES_LIMITED (RING_ENTRIES * 3 / 4)

#define SUPPRESSED_EVERY_US UINT64_C(5000000)

static struct log_thread thread = LOG_THREAD_INITIALIZER;
static _Atomic int level_in_force = LOG_LEVEL_INFO;
static _Atomic int target_in_force = LOG_TARGET_AUTO;
static _Atomic int format_in_force = LOG_FORMAT_TEXT;
static _Atomic bool timestamps_in_force;
static _Atomic bool stderr_is_journal;
static _Atomic uint64_t n_dropped;

static struct {
	struct log_limit limit;
	_Atomic uint64_t n; /* suppressed since the last report */
} suppressed[LOG_EVENT_COUNT];

/* Protected by the thread's mutex. */
static struct slot {
	uint64_t dropped_before; /* entries dropped between the previous entry and this one */
	struct log_entry entry;
} ring[RING_ENTRIES];
static size_t ring_first, ring_used;
static uint64_t ring_dropped;	   /* dropped since the last entry that fitted */
static uint64_t suppressed_due_us; /* when to report suppressed events; 0: none */

static bool level_wanted(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&level_in_force, memory_order_relaxed);
}

static void count_dropped(uint64_t n)
{
	atomic_fetch_add_explicit(&n_dropped, n, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
	return atomic_load_explicit(&n_dropped, memory_order_relaxed);
}

/* ---- writing, in the thread ---- */

static bool journal_wanted(void)
{
	int target = atomic_load_explicit(&target_in_force, memory_order_relaxed);

	return target == LOG_TARGET_JOURNAL || (target == LOG_TARGET_AUTO && stderr_is_journal);
}

static struct log_output present_output(void)
{
	return (struct log_output){
		.journal = journal_wanted(),
		.stderr_is_journal = stderr_is_journal,
		.format = (enum log_format)atomic_load_explicit(&format_in_force,
								memory_order_relaxed),
		.timestamps = atomic_load_explicit(&timestamps_in_force, memory_order_relaxed),
	};
}

/* Writes @entry. Returns 0, or a negative errno after counting it as dropped. */
static int write_entry(const struct log_entry *entry)
{
	struct log_output output = present_output();
	int r = log_entry_write(entry, &output);

	if (r < 0)
		count_dropped(1);
	return r;
}

/* Writes an entry about the log itself. */
__attribute__((format(printf, 3, 4))) static int
write_own(enum log_level level, const struct log_fields *fields, const char *format, ...)
{
	struct log_output output = present_output();
	struct log_entry entry;
	va_list ap;

	if (!level_wanted(level))
		return 0;
	va_start(ap, format);
	log_entry_format(&entry, level, LOG_DROPPED, fields, format, ap);
	va_end(ap);
	return log_entry_write(&entry, &output);
}

/* Writes an entry that reports @n missing entries at this point. */
static int write_dropped(uint64_t n)
{
	const struct log_fields fields = {
		.reason = "log full",
		.has = LOG_HAS_DROPPED,
		.dropped = n,
	};

	return write_own(log_kinds[LOG_DROPPED].level, &fields,
			 "%" PRIu64 " log entr%s missing here because %s not be written", n,
			 n == 1 ? "y is" : "ies are", n == 1 ? "it could" : "they could");
}

/* Writes how many events of each kind were suppressed since the last report. */
static void write_suppressed(void)
{
	for (int event = 0; event < LOG_EVENT_COUNT; event++) {
		const struct log_kind *kind = &log_kinds[event];
		uint64_t n =
			atomic_exchange_explicit(&suppressed[event].n, 0, memory_order_relaxed);
		const struct log_fields fields = {
			.reason = "rate limit",
			.dropped_event = kind->name,
			.has = LOG_HAS_DROPPED,
			.dropped = n,
		};

		if (n > 0 && write_own(kind->level, &fields,
				       "%" PRIu64 " %s event%s suppressed: more than %u per second",
				       n, kind->name, plural(n), kind->per_second) < 0)
			count_dropped(1);
	}
}

/* Waits for work, with the mutex held. Returns false when the thread must end. */
static bool wait_for_work(void)
{
	while (thread.state == LOG_THREAD_ON && ring_used == 0 && ring_dropped == 0) {
		if (suppressed_due_us > 0 && suppressed_due_us <= clock_now_us())
			return true;
		log_thread_wait(&thread, suppressed_due_us);
	}
	if (thread.state == LOG_THREAD_ABANDONED)
		return false;
	return thread.state == LOG_THREAD_ON || ring_used > 0 || ring_dropped > 0 ||
	       suppressed_due_us > 0;
}

static void log_run(void)
{
	struct log_entry entry;
	uint64_t lost = 0; /* entries that have not been reported yet */

	pthread_mutex_lock(&thread.mutex);
	while (wait_for_work()) {
		bool has_entry = ring_used > 0;

		if (has_entry) {
			lost += ring[ring_first].dropped_before;
			log_entry_copy(&entry, &ring[ring_first].entry);
			ring_first = (ring_first + 1) % RING_ENTRIES;
			ring_used--;
		} else {
			lost += ring_dropped;
			ring_dropped = 0;
			suppressed_due_us = 0;
		}
		pthread_mutex_unlock(&thread.mutex);
		if (lost > 0 && write_dropped(lost) == 0)
			lost = 0;
		if (!has_entry)
			write_suppressed();
		else if (write_entry(&entry) < 0)
			lost++;
		pthread_mutex_lock(&thread.mutex);
	}
	pthread_mutex_unlock(&thread.mutex);
}

/* ---- the life of the log ---- */

int log_start(void)
{
	int r;

	stderr_is_journal = systemd_stderr_is_journal();
	r = log_notify_start();
	if (r < 0)
		return r;
	r = log_thread_start(&thread, "ackd-log", log_run);
	if (r < 0) {
		log_notify_stop();
		log_notify_join(UINT64_MAX);
	}
	return r;
}

void log_configure(const struct log_settings *settings)
{
	atomic_store_explicit(&level_in_force, (int)settings->level, memory_order_relaxed);
	atomic_store_explicit(&target_in_force, (int)settings->target, memory_order_relaxed);
	atomic_store_explicit(&format_in_force, (int)settings->format, memory_order_relaxed);
	atomic_store_explicit(&timestamps_in_force, settings->timestamps, memory_order_relaxed);
}

void log_stop(unsigned timeout_ms)
{
	uint64_t now_us = clock_now_us();
	uint64_t deadline_us = now_us + (uint64_t)timeout_ms * 1000;

	log_thread_stop(&thread);
	log_notify_stop();
	log_thread_join(&thread, deadline_us);
	log_notify_join(deadline_us);
	now_us = clock_now_us();
	if (journal_wanted() && now_us < deadline_us)
		systemd_journal_flush(deadline_us - now_us);
}

/* ---- posting ---- */

bool log_limit_take(struct log_limit *limit, unsigned burst, unsigned per_second, uint64_t now_us)
{
	uint64_t interval_us = 1000000 / per_second;
	uint64_t due = atomic_load_explicit(&limit->due_us, memory_order_relaxed);
	uint64_t start;

	do {
		start = due > now_us ? due : now_us;
		if (start - now_us > (burst - 1) * interval_us)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&limit->due_us, &due, start + interval_us,
							memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

static void count_suppressed(enum log_event event)
{
	if (atomic_fetch_add_explicit(&suppressed[event].n, 1, memory_order_relaxed) > 0)
		return;
	pthread_mutex_lock(&thread.mutex);
	if (suppressed_due_us == 0 && thread.state == LOG_THREAD_ON) {
		suppressed_due_us = clock_now_us() + SUPPRESSED_EVERY_US;
		pthread_cond_broadcast(&thread.changed);
	}
	pthread_mutex_unlock(&thread.mutex);
}

bool log_admit(enum log_event event)
{
	const struct log_kind *kind = &log_kinds[event];

	if (!level_wanted(kind->level))
		return false;
	if (kind->burst == 0 ||
	    log_limit_take(&suppressed[event].limit, kind->burst, kind->per_second, clock_now_us()))
		return true;
	count_suppressed(event);
	return false;
}

/* Adds @entry to the ring. Returns the state of the thread; if it is off, nothing was done. */
static enum log_thread_state ring_push(const struct log_entry *entry)
{
	bool limited = log_kinds[entry->event].burst > 0;
	enum log_thread_state state;
	bool dropped = true;

	pthread_mutex_lock(&thread.mutex);
	state = thread.state;
	if (state == LOG_THREAD_ON || state == LOG_THREAD_STOPPING) {
		if (ring_used < (limited ? RING_ENTRIES_LIMITED : RING_ENTRIES)) {
			struct slot *slot = &ring[(ring_first + ring_used++) % RING_ENTRIES];

			log_entry_copy(&slot->entry, entry);
			slot->dropped_before = ring_dropped;
			ring_dropped = 0;
			dropped = false;
			pthread_cond_broadcast(&thread.changed);
		} else {
			ring_dropped++;
		}
	}
	pthread_mutex_unlock(&thread.mutex);
	if (dropped && state != LOG_THREAD_OFF)
		count_dropped(1);
	return state;
}

__attribute__((format(printf, 4, 0))) static void post(enum log_level level, enum log_event event,
						       const struct log_fields *fields,
						       const char *format, va_list ap)
{
	struct log_entry entry;

	if (!level_wanted(level))
		return;
	log_entry_format(&entry, level, event, fields, format, ap);
	if (ring_push(&entry) == LOG_THREAD_OFF) {
		stderr_is_journal = systemd_stderr_is_journal();
		write_entry(&entry);
	}
}

void log_post(enum log_event event, const struct log_fields *fields, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	post(log_kinds[event].level, event, fields, format, ap);
	va_end(ap);
}

void log_post_at(enum log_level level, enum log_event event, const struct log_fields *fields,
		 const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	post(level, event, fields, format, ap);
	va_end(ap);
}
