#include "sample.h"

#include <stdlib.h>

static uint32_t seed = 521288629;

static uint32_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

uint32_t sample_share(void)
{
	static uint32_t share;
	const char *text;

	if (share == 0) {
		text = getenv("ACKD_TEST_SAMPLE");
		share = text ? (uint32_t)strtoul(text, NULL, 10) : 1;
		share = share > 0 ? share : 1;
	}
	return share;
}

bool sample_takes(void)
{
	return sample_share() == 1 || next_random() % sample_share() == 0;
}

uint32_t sample_step(void)
{
	return sample_share() == 1 ? 1 : 1 + next_random() % (2 * sample_share() - 1);
}
