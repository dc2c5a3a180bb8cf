#pragma once

/* Thresholds in the syntax of the Monitoring Plugins Development Guidelines. */

#include <stdbool.h>
#include <stdio.h>

/* [@][START:][END]: alerts outside the range, ends excluded; with @ inside it, ends included. */
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
 * Parses "RANGE" of milliseconds, or "RANGE,RANGE%" with the loss. Milliseconds may have a unit.
 * Returns false, and leaves @ret unchanged, if @text is anything else.
 */
bool threshold_parse(const char *text, struct threshold *ret);

/* Lower bounds: fewer days than these cause an alert. */
struct days {
	struct range warning;
	struct range critical;
};

/*
 * Parses "DAYS" for a warning, or "DAYS,DAYS" with the critical number, which is not higher.
 * Returns false, and leaves @ret unchanged, if @text is anything else.
 */
bool days_parse(const char *text, struct days *ret);

/* Returns whether @value causes an alert; false if no range was given. */
bool range_alerts(const struct range *r, double value);

/* Returns whether both are upper bounds and that of @warning is above that of @critical. */
bool range_above(const struct range *warning, const struct range *critical);

/* Writes a range in the syntax of performance data; nothing if none was given. */
void range_print(const struct range *r, FILE *out);
