#include "ackc/output/output.h"

#include "ackc/output/exit_status.h"
#include "ackc/output/process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int failure_status = -1; /* set by output_fail_with(); -1: not set */

void output_fail_with(int status)
{
	failure_status = status;
}

bool output_flush(void)
{
	static bool said;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	if (errno == EPIPE && failure_status < 0)
		process_end_as_filter();
	if (!said)
		fprintf(stderr, "ackc: standard output: %s\n", strerror(errno));
	said = true;
	return false;
}

int output_end(int status)
{
	if (output_flush())
		return status;
	if (failure_status >= 0)
		return failure_status;
	return status == EXIT_GOOD ? EXIT_NETWORK : status;
}
