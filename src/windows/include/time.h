#pragma once

/* For Windows: functions of POSIX for any year. Its libc has them from 1970 to 3000. */

#include_next <time.h>

/* utc_of_seconds() sets neither the day of the week nor that of the year. */
time_t utc_seconds(const struct tm *utc);
struct tm *utc_of_seconds(const time_t *seconds, struct tm *ret_utc);
#define timegm utc_seconds
#define gmtime_r utc_of_seconds
