#pragma once

/* meson.build selects the implementation for the C library. */

/*
 * Returns freed memory to the system, as far as whole pages are free. Any thread. The time is
 * proportional to the number of free chunks.
 */
void trim_memory(void);
