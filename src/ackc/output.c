#include "ackc/output.h"

#include "ackc/options.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

bool output_flush(void)
{
	static bool said;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	if (errno == EPIPE) {
		signal(SIGPIPE, SIG_DFL);
		raise(SIGPIPE);
	}
	if (!said)
		fprintf(stderr, "ackc: standard output: %s\n", strerror(errno));
	said = true;
	return false;
}

int output_end(int status)
{
	return output_flush() || status != EXIT_GOOD ? status : EXIT_NETWORK;
}
