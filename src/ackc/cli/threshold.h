#pragma once

/* Thresholds as the Monitoring Plugins' development guidelines have them. */

#include <stdbool.h>
#include <stdio.h>

/* [@][START:][END]: an alert is due outside of it, ends excluded; with @ inside, ends included. */
struct range {
	bool given;
	bool inside;
	double start; /* -INFINITY for ~ */
	double end;   /* INFINITY without END */
};

struct threshold {
	struct range ms;
	struct range loss_percent;
};

/*
 * Reads "RANGE" of milliseconds, or "RANGE,RANGE%" with the loss. Milliseconds may have a unit.
 * Returns false when @text is something else; then @ret is not written.
 */
bool threshold_parse(const char *text, struct threshold *ret);

/* Whether @value is worth an alert; false when no range was given. */
bool range_alerts(const struct range *r, double value);

/* Whether both are upper bounds, and that of @warning lies above that of @critical. */
bool range_above(const struct range *warning, const struct range *critical);

/* Writes a range as performance data have it; nothing when none was given. */
void range_print(const struct range *r, FILE *out);
