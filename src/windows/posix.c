#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <windows.h>

#define DAY_S ((int64_t)24 * 60 * 60)

void *memmem(const void *text, size_t text_n, const void *wanted, size_t wanted_n)
{
	const char *p = text;
	const char *end = p + text_n;
	int first;

	if (wanted_n == 0)
		return (void *)(uintptr_t)p;
	first = *(const unsigned char *)wanted;
	for (; (size_t)(end - p) >= wanted_n; p++) {
		p = memchr(p, first, (size_t)(end - p) - wanted_n + 1);
		if (!p || memcmp(p, wanted, wanted_n) == 0)
			return (void *)(uintptr_t)p;
	}
	return NULL;
}

int open_utf8(const char *path, int flags)
{
	wchar_t wide[MAX_PATH];

	if (MultiByteToWideChar(CP_UTF8, 0, path, -1, wide, MAX_PATH) == 0) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return _wopen(wide, flags | O_BINARY);
}

/* Reads byte by byte; only tests use it. */
ssize_t getline(char **line, size_t *size, FILE *stream)
{
	size_t n = 0;
	int c;

	while ((c = getc(stream)) != EOF) {
		if (n + 2 > *size) {
			char *more = realloc(*line, *size = 2 * *size + 128);

			if (!more)
				return -1;
			*line = more;
		}
		(*line)[n++] = (char)c;
		(*line)[n] = '\0';
		if (c == '\n')
			break;
	}
	return n ? (ssize_t)n : -1;
}

/*
 * Returns the number of days from 1970-01-01 to the first of March of @year. A year that begins in
 * March has its leap day at the end.
 */
static int64_t days_to_march(int64_t year)
{
	/* from year 0 on, a multiple of 400 years before, so that the divisions round down */
	int64_t y = year + 400 * 10;

	return 365 * y + y / 4 - y / 100 + y / 400 - (365 * 4000 + 970) - 719468;
}

time_t utc_seconds(const struct tm *utc)
{
	int64_t month = utc->tm_mon < 2 ? utc->tm_mon + 10 : utc->tm_mon - 2; /* March: 0 */
	int64_t year = utc->tm_year + 1900 - (utc->tm_mon < 2);
	int64_t days = days_to_march(year) + (153 * month + 2) / 5 + utc->tm_mday - 1;

	return days * DAY_S + utc->tm_hour * 3600 + utc->tm_min * 60 + utc->tm_sec;
}

struct tm *utc_of_seconds(const time_t *seconds, struct tm *ret_utc)
{
	int64_t days = *seconds / DAY_S - (*seconds % DAY_S < 0);
	int64_t rest = *seconds - days * DAY_S;
	int64_t year = 1970 + days / 366;
	int64_t month;

	if (year < 0 || year > 9999)
		return NULL;
	while (days_to_march(year + 1) <= days)
		year++;
	while (days_to_march(year) > days)
		year--;
	days -= days_to_march(year);
	month = (5 * days + 2) / 153;
	*ret_utc = (struct tm){
		.tm_sec = (int)(rest % 60),
		.tm_min = (int)(rest / 60 % 60),
		.tm_hour = (int)(rest / 3600),
		.tm_mday = (int)(days - (153 * month + 2) / 5 + 1),
		.tm_mon = (int)(month < 10 ? month + 2 : month - 10),
		.tm_year = (int)(year - 1900 + (month >= 10)),
	};
	return ret_utc;
}
