#pragma once

/* The time, and medians. */

double now_ns(void);

/* Sorts @n values, so that values[n / 2] is the median. */
void sort_figures(double *values, unsigned n);
