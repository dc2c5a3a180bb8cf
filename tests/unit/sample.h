#pragma once

/*
 * Sampling of costly comparisons, for builds that are many times slower than the plain one, and for
 * quick runs. ACKD_TEST_SAMPLE=N selects about one in N of them, always the same ones; by default
 * all are made.
 */

#include <stdbool.h>
#include <stdint.h>

/* Returns N, at least 1. */
uint32_t sample_share(void);

/* Returns whether the next comparison is one of the sample. */
bool sample_takes(void);

/* Returns the distance to the next comparison of the sample: 1, or N on average. */
uint32_t sample_step(void);
