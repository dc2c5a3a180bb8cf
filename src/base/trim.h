#pragma once

/* Which file implements it is chosen in meson.build, by the C library. */

/*
 * Gives the memory that the process has freed back to the system, as far as whole pages are free.
 * Any thread. It takes time proportional to the number of free pieces.
 */
void trim_memory(void);
