"""Memory of a restart: at most 1.3 times the held data of connections, in each process."""

import os
import pathlib
import re
import signal

import pytest

from harness import read_exactly, sanitizer, wait_until


MIB = 1 << 20
FACTOR = 1.3
FIXED = 8 * MIB  # upper bound of the memory of a process without held data


@pytest.fixture(name="group")
def make_group():
    """Creates a cgroup with a memory controller."""
    name = f"ackd-test-{os.getpid()}"
    first = pathlib.Path("/sys/fs/cgroup/memory") / name
    second = pathlib.Path("/sys/fs/cgroup") / name
    try:
        if (first.parent / "memory.limit_in_bytes").exists():
            group, files = first, ("memory.limit_in_bytes", "memory.max_usage_in_bytes")
        elif "memory" in (second.parent / "cgroup.subtree_control").read_text():
            group, files = second, ("memory.max", "memory.peak")
        else:
            pytest.skip("no memory controller for cgroups")
        group.mkdir()
    except OSError as error:
        pytest.skip(f"cannot create a cgroup: {error}")
    group_limit, group_peak = (group / file for file in files)
    yield group, group_limit, group_peak
    wait_until(lambda: not (group / "cgroup.procs").read_text(), "the processes to be gone")
    group.rmdir()


def memory(daemon, field):
    status = pathlib.Path(f"/proc/{daemon.pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M)[1]) * 1024


def hold(daemon, n, length):
    """Opens @n connections with an unfinished line each; returns them and the number of held bytes."""
    before = memory(daemon, "RssAnon")
    clients = [daemon.connect() for _ in range(n)]
    for first in range(0, length, 65536):  # in turns, which fragments the memory
        for s in clients:
            s.sendall(b"x" * min(65536, length - first))

    def received():
        mark = daemon.mark()
        daemon.signal(signal.SIGUSR1)
        return int(daemon.wait_for(r" (\d+) bytes in, ", after=mark)[1]) == n * length

    wait_until(received, "all to be received")
    return clients, memory(daemon, "RssAnon") - before


def check(clients, length):
    for s in clients:
        s.sendall(b"\n")
    for s in clients:
        with s:
            assert read_exactly(s, length + 1) == b"x" * length + b"\n"


CONFIG = ('address = "127.0.0.1"; reply = "echo"; framing = "line"; workers = 2;'
          ' limits = { max_line = "1MiB"; };')

plain = pytest.mark.skipif(sanitizer() is not None, reason="a sanitizer takes memory of its own")


@plain
@pytest.mark.parametrize("n,length", [(64, MIB - 1000), (8000, 8000)])
def test_next_process_releases_the_state_while_reading(unit, record_property, n, length):
    """The next process releases the state while it reads it."""
    daemon = unit.start(CONFIG)
    clients, held = hold(daemon, n, length)
    assert held > 50 * MIB
    daemon = unit.again(daemon)
    peak = memory(daemon, "VmHWM")
    record_property(f"peak of the next process, {n} lines", f"{peak / held:.2f} times")
    assert peak < FACTOR * held + FIXED
    check(clients, length)


@plain
@pytest.mark.parametrize("n,length", [(120, MIB - 1000), (8000, 16000)])
def test_connections_survive_a_memory_limit(group, unit, record_property, n, length):
    """Connections survive if memory does not suffice for their data and a copy of it."""
    directory, limit, peak = group
    unit.environment["JOIN_CGROUP"] = str(directory)
    daemon = unit.start(CONFIG)
    clients, held = hold(daemon, n, length)
    assert held > 110 * MIB
    limit.write_text(str(int(1.6 * held)))
    daemon = unit.again(daemon)
    check(clients, length)
    if peak.exists():
        most = int(peak.read_text())
        record_property(f"peak of both processes, {n} lines", f"{most / held:.2f} times")
        assert most < FACTOR * held + 2 * FIXED
