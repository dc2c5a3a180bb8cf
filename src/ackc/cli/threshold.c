#include "ackc/cli/threshold.h"

#include "base/units.h"

#include <math.h>
#include <string.h>

#define RANGE_TEXT_MAX 64

typedef bool (*parse_value)(const char *text, double *ret);

static bool parse_ms(const char *text, double *ret)
{
	double us;

	if (!duration_parse_default(text, 1000, &us))
		return false;
	*ret = us / 1000;
	return true;
}

static bool parse_percent(const char *text, double *ret)
{
	return number_parse(text, ret) && *ret <= 100;
}

static bool parse_range(char *text, parse_value parse, struct range *ret)
{
	struct range r = {.given = true, .inside = text[0] == '@', .end = INFINITY};
	char *start = text + r.inside;
	char *colon = strchr(start, ':');
	char *end = colon ? colon + 1 : start;

	if (colon) {
		*colon = '\0';
		if (strcmp(start, "~") == 0)
			r.start = -INFINITY;
		else if (!parse(start, &r.start))
			return false;
	}
	if ((*end || !colon) && !parse(end, &r.end))
		return false;
	if (r.start > r.end)
		return false;
	*ret = r;
	return true;
}

bool threshold_parse(const char *text, struct threshold *ret)
{
	struct threshold t = {0};
	char copy[2 * RANGE_TEXT_MAX];
	char *loss;
	size_t n = strlen(text);

	if (n >= sizeof(copy))
		return false;
	memcpy(copy, text, n + 1);
	loss = strchr(copy, ',');
	if (loss) {
		if (copy[n - 1] != '%')
			return false;
		copy[n - 1] = '\0';
		*loss++ = '\0';
	}
	if (!parse_range(copy, parse_ms, &t.ms) ||
	    (loss && !parse_range(loss, parse_percent, &t.loss_percent)))
		return false;
	*ret = t;
	return true;
}

static struct range at_least(double start)
{
	return (struct range){.given = true, .start = start, .end = INFINITY};
}

bool days_parse(const char *text, struct days *ret)
{
	char warning[RANGE_TEXT_MAX];
	size_t n = strcspn(text, ",");
	double days;
	double critical;

	if (n >= sizeof(warning))
		return false;
	memcpy(warning, text, n);
	warning[n] = '\0';
	if (!number_parse(warning, &days))
		return false;
	if (text[n] && (!number_parse(text + n + 1, &critical) || critical > days))
		return false;
	*ret = (struct days){.warning = at_least(days)};
	if (text[n])
		ret->critical = at_least(critical);
	return true;
}

bool range_alerts(const struct range *r, double value)
{
	if (!r->given)
		return false;
	return r->inside == (value >= r->start && value <= r->end);
}

static bool is_upper_bound(const struct range *r)
{
	return r->given && !r->inside && r->start <= 0;
}

bool range_above(const struct range *warning, const struct range *critical)
{
	return is_upper_bound(warning) && is_upper_bound(critical) && warning->end > critical->end;
}

void range_print(const struct range *r, FILE *out)
{
	if (!r->given)
		return;
	if (r->inside)
		putc('@', out);
	if (isinf(r->start))
		fputs("~:", out);
	else if (r->start > 0 || isinf(r->end))
		fprintf(out, "%g:", r->start);
	if (!isinf(r->end))
		fprintf(out, "%g", r->end);
}
