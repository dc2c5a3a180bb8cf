#include "ackc/message/scout_parts.h"

#include <stdio.h>
#include <string.h>

bool scout_find_fault(const struct scout *s, struct fault *ret)
{
	const uint8_t *p = s->received + s->mark;
	size_t n = s->n - s->mark;

	for (size_t i = 0; i < n; i++) {
		if ((i == 0 || p[i - 1] == '\n') && explain_nak(p + i, n - i, ret))
			return true;
	}
	for (int i = s->first; i <= s->last; i++) {
		const uint8_t *text = (const uint8_t *)s->texts[i];

		/*
		 * Search with the line end first: if it directly follows the text, a fault in the
		 * last byte of the text is detected, too.
		 */
		if (!memmem(p, n, text, s->text_n) &&
		    (explain_search(text, s->text_n + 1, p, n, ret) ||
		     explain_search(text, s->text_n, p, n, ret)))
			return true;
	}
	return false;
}

/* Returns the first text of the step that has not arrived; -1 if all have. */
static int awaited(const struct scout *s)
{
	for (int i = s->first; i <= s->last; i++) {
		if (scout_find(s, i) == SIZE_MAX)
			return i;
	}
	return -1;
}

size_t scout_beginning(const struct scout *s)
{
	int text = awaited(s);
	size_t came = s->n - s->mark;
	size_t n = came < s->text_n ? came : s->text_n;

	if (text < 0)
		return s->text_n;
	while (n > 0 && memcmp(s->received + s->n - n, s->texts[text], n) != 0)
		n--;
	return n;
}

void scout_explain_other(const struct scout *s, struct fault *ret)
{
	bool spare = s->spare_mark && s->n > s->spare_mark;
	int text = spare ? SPARE_TEXT : awaited(s);
	const uint8_t *got = s->received + (spare ? s->spare_mark : s->mark);
	size_t got_n = s->n - (spare ? s->spare_mark : s->mark);
	uint8_t due[AFFIX_MAX + TEXT_MAX + 1];
	char got_words[QUOTE_MAX];
	char due_words[QUOTE_MAX];
	size_t due_n = 0;
	size_t at;

	ret->kind = FAULT_OTHER;
	if (spare && scout_find(s, SPARE_TEXT) != SIZE_MAX) {
		snprintf(ret->words, sizeof(ret->words), "no reply to a text, but to the next one");
		return;
	}
	if (s->task.prefix) {
		due_n = strlen(s->task.prefix);
		memcpy(due, s->task.prefix, due_n);
	}
	memcpy(due + due_n, s->texts[text], s->text_n + 1);
	due_n += s->text_n + 1;
	at = explain_common(due, due_n, got, got_n);
	explain_quote(got + at, got_n - at, got_words, sizeof(got_words));
	explain_quote(due + at, due_n - at, due_words, sizeof(due_words));
	snprintf(ret->words, sizeof(ret->words), "other text from byte %zu on: %s, not %s", at,
		 got_words, due_words);
}

void scout_explain_failure(const struct scout *s, char *ret)
{
	size_t beginning = scout_beginning(s);
	char words[QUOTE_MAX];

	*ret = '\0';
	if (s->n > s->mark && awaited(s) < 0) {
		snprintf(ret, FAULT_WORDS_MAX, "the text came, but no line end after it");
	} else if (s->n > s->mark && beginning >= EXPLAIN_PROOF) {
		snprintf(ret, FAULT_WORDS_MAX, "the first %zu of %zu bytes of the text came",
			 beginning, s->text_n);
	} else if (s->n > s->mark) {
		explain_quote(s->received + s->mark, s->n - s->mark, words, sizeof(words));
		snprintf(ret, FAULT_WORDS_MAX, "%s came, not the text that was sent", words);
	} else if (s->first > 0) {
		snprintf(ret, FAULT_WORDS_MAX, "after %s",
			 s->first == 1 ? "one reply" : "two replies");
	}
}
