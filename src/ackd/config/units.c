#include "ackd/config/units.h"

#include <inttypes.h>
#include <math.h>

bool duration_from_seconds(double seconds, uint64_t *ret_us)
{
	double us = round(seconds * 1e6);

	/*
	 * A shorter time than a microsecond is rounded up to one, because 0 has a different
	 * meaning.
	 */
	if (!(us >= 0 && us < 9e18))
		return false;
	*ret_us = us == 0 && seconds > 0 ? 1 : (uint64_t)us;
	return true;
}

void duration_print(uint64_t us, FILE *out)
{
	char text[UNITS_TEXT_MAX];

	if (us % 1000000 == 0)
		fprintf(out, "%" PRIu64, us / 1000000);
	else
		fprintf(out, "\"%s\"", duration_text(us, text));
}

void size_print(uint64_t bytes, FILE *out)
{
	char text[UNITS_TEXT_MAX];

	if (bytes % 1024 != 0 && bytes <= INT32_MAX)
		fprintf(out, "%" PRIu64, bytes);
	else
		fprintf(out, "\"%s\"", size_text(bytes, text));
}
