#include "base/units.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t scale;
};

/* Largest first: messages use the first unit that divides the value. */
static const struct unit duration_units[] = {
	{"d", 86400000000}, {"h", 3600000000}, {"min", 60000000},
	{"s", 1000000},	    {"ms", 1000},      {"us", 1},
};
static const struct unit size_units[] = {
	{"TiB", 1ULL << 40},
	{"GiB", 1ULL << 30},
	{"MiB", 1ULL << 20},
	{"KiB", 1ULL << 10},
	{"B", 1},
};
#define N(array) (sizeof(array) / sizeof((array)[0]))

/* Parses digits at *@p and moves *@p past them. Returns false if there are none or too many. */
static bool parse_digits(const char **p, uint64_t *ret_value, uint64_t *ret_power)
{
	const char *begin = *p;
	uint64_t value = 0, power = 1;

	for (; isdigit((unsigned char)**p); (*p)++) {
		if (*p - begin == 18) /* 10^18 fits */
			return false;
		value = value * 10 + (uint64_t)(**p - '0');
		power *= 10;
	}
	*ret_value = value;
	*ret_power = power;
	return *p > begin;
}

static bool parse(const char *text, const struct unit *units, size_t n_units, bool fraction,
		  uint64_t *ret_value)
{
	uint64_t whole, part = 0, power = 1, value;
	size_t i;

	if (!parse_digits(&text, &whole, &value))
		return false;
	if (fraction && *text == '.') {
		text++;
		if (!parse_digits(&text, &part, &power))
			return false;
	}
	for (i = 0; i < n_units && strcmp(text, units[i].name) != 0;)
		i++;
	if (i == n_units || __builtin_mul_overflow(part, units[i].scale, &part) ||
	    part % power != 0 || __builtin_mul_overflow(whole, units[i].scale, &value) ||
	    __builtin_add_overflow(value, part / power, &value))
		return false;
	*ret_value = value;
	return true;
}

bool duration_parse(const char *text, uint64_t *ret_us)
{
	return parse(text, duration_units, N(duration_units), true, ret_us);
}

bool size_parse(const char *text, uint64_t *ret_bytes)
{
	return parse(text, size_units, N(size_units), false, ret_bytes);
}

bool number_parse(const char *text, double *ret)
{
	char *end;

	/* strtod() alone accepts hexadecimal numbers, "inf" and leading spaces, too. */
	if (!*text || strspn(text, "0123456789.") != strlen(text))
		return false;
	*ret = strtod(text, &end);
	return !*end && isfinite(*ret);
}

bool duration_parse_default(const char *text, uint64_t default_us, double *ret_us)
{
	uint64_t us;

	if (duration_parse(text, &us))
		*ret_us = (double)us;
	else if (number_parse(text, ret_us))
		*ret_us *= (double)default_us;
	else
		return false;
	return true;
}

static const char *value_text(uint64_t value, const struct unit *units, size_t n_units,
			      char out[UNITS_TEXT_MAX])
{
	size_t i = 0;

	while (i < n_units - 1 && value % units[i].scale != 0)
		i++;
	if (value == 0)
		snprintf(out, UNITS_TEXT_MAX, "0");
	else
		snprintf(out, UNITS_TEXT_MAX, "%" PRIu64 "%s", value / units[i].scale,
			 units[i].name);
	return out;
}

const char *duration_text(uint64_t us, char out[UNITS_TEXT_MAX])
{
	return value_text(us, duration_units, N(duration_units), out);
}

const char *size_text(uint64_t bytes, char out[UNITS_TEXT_MAX])
{
	return value_text(bytes, size_units, N(size_units), out);
}
