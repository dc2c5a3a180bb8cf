"""The watchdog restarts a daemon that hangs."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from service import CONFIG, exchange, serves, wait_until

# Stops one thread as a debugger does, while the others run; waits until the thread has ended.
WEDGE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_ulong] + [ctypes.c_void_p] * 3
thread = int(sys.argv[1])
for request in 0x4206, 0x4207:  # PTRACE_SEIZE, PTRACE_INTERRUPT
    if libc.ptrace(request, thread, None, None) < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
while True:
    pid, status = os.waitpid(thread, 0x40000000)  # __WALL
    if not os.WIFSTOPPED(status):
        break
    print("stopped", flush=True)
"""


@pytest.fixture
def wedge():
    tracers = []

    def stop(thread):
        tracers.append(subprocess.Popen([sys.executable, "-c", WEDGE, str(thread)],
                                        stdout=subprocess.PIPE))
        assert tracers[-1].stdout.readline() == b"stopped\n"

    yield stop
    for tracer in tracers:
        tracer.kill()
        tracer.communicate()


def threads(pid):
    """Returns {thread ID: name} of all threads but the first."""
    return {int(t.name): (t / "comm").read_text().strip()
            for t in pathlib.Path(f"/proc/{pid}/task").iterdir() if int(t.name) != pid}


def ended_by_the_watchdog(unit, journal):
    """Waits until systemd has restarted the service; returns whether the watchdog was the reason."""
    wait_until(lambda: unit.restarts == 1 and unit.state == "active", "the restart", 60)
    said = "\n".join(journal.messages())
    return "Watchdog timeout (limit 2s)!" in said and "Failed with result 'watchdog'" in said


def test_one_hung_worker_triggers_the_watchdog(unit, journal, wedge):
    """Other threads that still run do not hide it."""
    CONFIG.write_text('workers = 2; framing = "line";\n')
    unit.drop_in("[Service]\nWatchdogSec=2\nTimeoutAbortSec=5\n")
    unit.start()
    before = unit.pid
    workers = [t for t, name in threads(before).items() if name == "ackd"]
    assert len(workers) == 2, threads(before)
    wedge(workers[0])
    assert ended_by_the_watchdog(unit, journal)
    assert unit.pid != before
    assert exchange(b"up?\n") == b"Got up?\n"


def test_stopped_process_triggers_the_watchdog(unit, journal):
    unit.drop_in("[Service]\nWatchdogSec=2\nTimeoutAbortSec=5\n")
    unit.start()
    os.kill(unit.pid, signal.SIGSTOP)
    assert ended_by_the_watchdog(unit, journal)
    assert serves()


def test_idle_daemon_feeds_the_watchdog(unit):
    """Without any event for several intervals, the daemon still notifies the watchdog."""
    unit.drop_in("[Service]\nWatchdogSec=3\n")  # a busy machine may delay the daemon for a while
    unit.start()
    before = unit.pid
    beats = unit.show("WatchdogTimestampMonotonic")
    for _ in range(4):
        last = beats
        wait_until(lambda: unit.show("WatchdogTimestampMonotonic") != last, "a beat", 10)
        beats = unit.show("WatchdogTimestampMonotonic")
    assert (unit.pid, unit.restarts) == (before, 0)
