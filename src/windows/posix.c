#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

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
