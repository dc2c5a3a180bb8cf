#include "runs.h"

void (*const run_u8_check)(const struct run *, const struct pieces *, unsigned) = NULL;
