#include "figures.h"

#include <stdlib.h>
#include <time.h>

double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void sort_figures(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), compare);
}
