"""Samples of the daemon's resources, and whether they stayed flat."""

import statistics
from dataclasses import dataclass

WARM_UP = 0.25  # part of the run in which memory may grow
GROWTH_KIB = 2048  # flat means: at most this much more at the end than after the warm-up,
GROWTH_SHARE = 0.03  # or this part of it
CURVE_POINTS = 15


@dataclass(frozen=True)
class Sample:
    seconds: float
    clients: int
    rss_kib: int
    descriptors: int
    exchanges: int
    connections: int
    checked_mib: float
    cpu_seconds: float


def heading():
    return "      s  clients  RSS KiB  descriptors  answers/s  connects/s  MiB checked  CPU %"


def row(sample, before):
    elapsed = max(sample.seconds - before.seconds, 1e-3)
    return (f"{sample.seconds:7.0f}  {sample.clients:7d}  {sample.rss_kib:7d}  {sample.descriptors:11d}"
            f"  {(sample.exchanges - before.exchanges) / elapsed:9.0f}"
            f"  {(sample.connections - before.connections) / elapsed:10.0f}"
            f"  {sample.checked_mib:11.0f}"
            f"  {100 * (sample.cpu_seconds - before.cpu_seconds) / elapsed:5.1f}")


def condensed(samples):
    """Returns the run in about CURVE_POINTS rows."""
    step = max(1, len(samples) // CURVE_POINTS)
    chosen = samples[step - 1 :: step]
    previous = [samples[0], *chosen]
    return [row(sample, before) for before, sample in zip(previous, chosen)]


def compare(samples, field):
    """Returns the medians of a field: of the quarter after the warm-up, and of the last one."""
    values = [getattr(sample, field) for sample in samples]
    start = int(len(values) * WARM_UP)
    quarter = max(1, (len(values) - start) // 3)
    return statistics.median(values[start : start + quarter]), statistics.median(values[-quarter:])


def growth_per_hour(samples, field):
    """Returns the slope of the regression line after the warm-up."""
    rest = samples[int(len(samples) * WARM_UP) :]
    times = [sample.seconds for sample in rest]
    if len(set(times)) < 2:
        return 0.0
    return 3600 * statistics.linear_regression(times, [getattr(s, field) for s in rest]).slope


def is_flat(early, late, slack):
    return late - early <= max(slack, early * GROWTH_SHARE)
