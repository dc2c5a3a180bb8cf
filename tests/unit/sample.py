"""Sampling of costly comparisons, for builds that are many times slower than the plain one.

ACKD_TEST_SAMPLE=N selects one in N of them, always the same ones; by default all are made.
"""

import os
import random

SHARE = int(os.environ.get("ACKD_TEST_SAMPLE", "1"))
generator = random.Random(20261123)


def is_taken():
    return SHARE == 1 or generator.randrange(SHARE) == 0


def sampled(items):
    return [item for item in items if is_taken()]


def note():
    """Returns a note about the sample, or None."""
    return f"a sample of the comparisons: one in {SHARE}" if SHARE > 1 else None
