/* Adds up the counters of the workers of ackc load. */

#include "ackc/load/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void add(struct load_errors *e, bool wrong, const char *words, const char *first,
		uint64_t count)
{
	unsigned i;

	for (i = 0; i < e->n; i++) {
		if (e->kinds[i].wrong == wrong &&
		    strncmp(e->kinds[i].words, words, sizeof(e->kinds[i].words) - 1) == 0)
			break;
	}
	if (i == LOAD_ERROR_KINDS)
		i--; /* the last kind collects the rest */
	if (i == e->n) {
		e->n++;
		e->kinds[i].wrong = wrong;
		snprintf(e->kinds[i].first, sizeof(e->kinds[i].first), "%s", first);
		snprintf(e->kinds[i].words, sizeof(e->kinds[i].words), "%s",
			 i == LOAD_ERROR_KINDS - 1 ? "other" : words);
	}
	e->kinds[i].count += count;
}

void load_errors_add(struct load_errors *e, bool wrong, const char *words, const char *detail)
{
	add(e, wrong, words, detail, 1);
}

void load_errors_merge(struct load_errors *to, const struct load_errors *from)
{
	for (unsigned i = 0; i < from->n; i++)
		add(to, from->kinds[i].wrong, from->kinds[i].words, from->kinds[i].first,
		    from->kinds[i].count);
}

int load_result_init(struct load_result *result, const struct load_plan *plan)
{
	bool scheduled = plan->options->rate > 0;

	result->plan = plan;
	result->latency = histogram_create();
	result->connect = histogram_create();
	result->service = scheduled ? histogram_create() : NULL;
	if (!result->latency || !result->connect || (scheduled && !result->service))
		return -ENOMEM;
	return 0;
}

void load_result_add(struct load_result *result, const struct load_worker *w)
{
	histogram_merge(result->latency, w->latency);
	histogram_merge(result->connect, w->connect);
	if (w->service)
		histogram_merge(result->service, w->service);
	load_errors_merge(&result->errors, &w->errors);
	result->completed += w->completed;
	result->sent += w->sent;
	result->lost += w->lost;
	result->unsent += w->unsent;
	result->sent_bytes += w->sent_bytes;
	result->received_bytes += w->received_bytes;
	result->connected += w->connected;
}

void load_result_finish(struct load_result *result)
{
	histogram_destroy(result->latency);
	histogram_destroy(result->connect);
	histogram_destroy(result->service);
}
