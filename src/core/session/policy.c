#include "core/session/policy.h"

/* Returns the shortest path that has everything that @policy needs. */
static enum path path_of(const struct policy *policy)
{
	const struct transcoder *t = &policy->transcoder;

	if (t->from != CHARSET_UTF_8 || t->to != CHARSET_UTF_8)
		return PATH_GENERAL;
	switch (policy->framing) {
	case FRAMING_STREAM:
		return PATH_STREAM;
	case FRAMING_LINE:
		return PATH_LINE;
	}
	return PATH_GENERAL;
}

void policy_prepare(struct policy *policy)
{
	policy->path = path_of(policy);
}
