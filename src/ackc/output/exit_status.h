#pragma once

/* The exit statuses of ackc(1). */

#define EXIT_GOOD 0
#define EXIT_NETWORK 1
#define EXIT_WRONG 2
#define EXIT_UNKNOWN 3 /* monitoring plugin only */
#define EXIT_USAGE 64
