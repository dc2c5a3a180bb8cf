#include "core/session/mark.h"

#include <string.h>

void mark_prepare(struct mark *mark)
{
	uint8_t length = 0; /* of the longest prefix that ends before byte i and is not all of it */

	memset(mark->fallback, 0, sizeof(mark->fallback));
	for (uint8_t i = 1; i < mark->length; i++) {
		mark->fallback[i] = length;
		while (length > 0 && mark->bytes[i] != mark->bytes[length])
			length = mark->fallback[length];
		length += mark->bytes[i] == mark->bytes[length];
	}
}

bool mark_find(const struct mark *mark, const uint8_t *p, size_t n, uint8_t *matched,
	       size_t *ret_used)
{
	uint8_t k = *matched;
	size_t i = 0;

	while (i < n && k < mark->length) {
		if (k == 0) {
			const uint8_t *first = memchr(p + i, mark->bytes[0], n - i);

			i = first ? (size_t)(first - p) + 1 : n;
			k = first != NULL;
			continue;
		}
		while (k > 0 && p[i] != mark->bytes[k])
			k = mark->fallback[k];
		k += p[i] == mark->bytes[k];
		i++;
	}
	*matched = k;
	*ret_used = i;
	return k == mark->length;
}
