"""A daemon whose log is kept as far as it can explain a fault."""

import collections
import re
import time
from dataclasses import dataclass

from harness import Daemon

DISCONNECT = re.compile(
    r"disconnect: (\S+): connection (\d+) from (\S+) ended: (.*);"
    r" \d+ messages, (\d+) bytes in, (\d+) bytes out")
CONNECTIONS_KEPT = 50_000
NEAR_S = 10  # the maximum delay with which a client notices the end


@dataclass(frozen=True)
class End:
    """How a connection ended, from the log of the daemon."""

    seconds: float  # when the line was read, by the monotonic clock
    listener: str
    peer: str
    reason: str
    bytes_in: int
    bytes_out: int

    def __str__(self):
        return f"{self.reason} ({self.bytes_in} bytes in, {self.bytes_out} bytes out)"


class LoggedDaemon(Daemon):
    """Keeps only the latest ends of connections, because there are hundreds a second."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.ends = collections.deque(maxlen=CONNECTIONS_KEPT)
        self.reasons = collections.Counter()

    def keep_line(self, line):
        match = DISCONNECT.search(line)
        if match:
            listener, _, peer, reason, bytes_in, bytes_out = match.groups()
            self.ends.append(
                End(time.monotonic(), listener, peer, reason, int(bytes_in), int(bytes_out)))
            self.reasons[reason] += 1
        return not match and "debug connect:" not in line

    def explain(self, trace):
        """Returns how the connection of a clients.Trace ended, if the log has it."""
        found = [end for end in list(self.ends) if is_of(end, trace)]
        if not found:
            return "the daemon's log has no entry (it is limited to 50 ends a second)"
        return "ackd: " + " or ".join(sorted({str(end) for end in found}))


def is_of(end, trace):
    """Returns whether @end can be that of @trace; peers of a UNIX socket have no names."""
    if end.listener != trace.listener or not 0 <= trace.seconds - end.seconds + 1 < NEAR_S:
        return False
    if trace.peer:
        return end.peer == trace.peer
    return end.bytes_in <= trace.sent and end.bytes_out >= trace.received
