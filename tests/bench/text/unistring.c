/* libunistring's u8_check(): only built where that is installed. */

#include "runs.h"

#include <unistr.h>

static void run(const struct run *run, const struct pieces *pieces, unsigned passes)
{
	size_t proven = 0;

	while (passes-- > 0) {
		proven = 0;
		for (size_t i = 0; i < pieces->n; i++) {
			uint32_t at = pieces->offsets[i];
			size_t n = pieces->offsets[i + 1] - at;

			proven += u8_check(pieces->text + at, n) == NULL ? n : 0;
		}
	}
	run_proven_bytes = proven;
}

void (*const run_u8_check)(const struct run *, const struct pieces *, unsigned) = run;
