#pragma once

/* Returns how many processors this process may use, at least 1. Any thread. */
unsigned parallelism(void);
