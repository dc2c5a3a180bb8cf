#pragma once

/* Exit statuses: those of sysexits.h that the manual promises. */
enum exit_status {
	EXIT_DONE = 0,
	EXIT_USAGE = 64,
	EXIT_UNAVAILABLE = 69, /* an address could not be resolved or bound */
	EXIT_OS = 71,
	EXIT_CONFIG = 78,
};
