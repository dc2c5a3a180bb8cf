"""Workers, and the resources of the process."""

import os
import pathlib
import re
import signal
import time

import pytest

from harness import SOON, Frozen, have, read_exactly, read_to_end, sanitizer, wait_until, within


def n_workers(daemon):
    return int(daemon.wait_for(r"ready: (\d+) worker")[1])


@pytest.mark.parametrize("workers", [1, 2, 7, 64])
def test_number_of_workers_is_the_configured_one(ackd, workers):
    daemon = ackd(f"workers = {workers};")
    assert n_workers(daemon) == workers
    assert len(os.listdir(f"/proc/{daemon.pid}/task")) >= workers
    for _ in range(3 * workers):
        assert daemon.exchange(b"x") == b"Got x"


def test_default_is_one_worker_per_usable_cpu(ackd):
    allowed = sorted(os.sched_getaffinity(0))
    assert n_workers(ackd()) == len(allowed)
    if not have("taskset"):
        pytest.skip("no taskset")
    assert n_workers(ackd(wrapper=["taskset", "-c", str(allowed[0])])) == 1


def worker_threads(daemon):
    """Returns {thread ID: (state, ns of CPU time)} of threads with the name of the main thread."""
    found = {}
    for task in pathlib.Path(f"/proc/{daemon.pid}/task").iterdir():
        name, rest = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        run_ns = int((task / "schedstat").read_text().split()[0])
        found[int(task.name)] = name, rest.split()[0], run_ns
    main_name = found.pop(daemon.pid)[0]
    return {task: what for task, (name, *what) in found.items() if name == main_name}


def test_every_worker_accepts(ackd):
    """Each worker has a listening socket, and the kernel distributes connections over them."""
    daemon = ackd("workers = 4;")
    wait_until(
        lambda: all(state == "S" for state, _ in worker_threads(daemon).values()),
        "workers that wait for events",
    )
    before = worker_threads(daemon)
    assert len(before) >= 4
    deadline = time.monotonic() + SOON
    # From now on only a connection makes a worker run.
    while idle := [t for t, what in worker_threads(daemon).items() if what[1] == before[t][1]]:
        assert time.monotonic() < deadline, f"{len(idle)} of {len(before)} have never run"
        clients = [daemon.connect() for _ in range(20)]
        for s in clients:
            s.sendall(b"x")
        for s in clients:
            assert read_exactly(s, 5) == b"Got x"
            s.close()


def test_descriptor_limit_is_raised_to_the_hard_limit(ackd):
    if not have("prlimit"):
        pytest.skip("no prlimit")
    if sanitizer() == "emulator":
        pytest.skip("valgrind and qemu use descriptors themselves")
    daemon = ackd("workers = 1;", wrapper=["prlimit", "--nofile=64:3000"])
    limits = pathlib.Path(f"/proc/{daemon.pid}/limits").read_text()
    assert re.search(r"^Max open files\s+3000\s+3000", limits, re.M)
    clients = [daemon.connect() for _ in range(200)]
    for s in clients:
        s.sendall(b"x")
        assert read_exactly(s, 5) == b"Got x"
        s.close()


def test_memory_bound_is_logged_at_debug_level(ackd):
    config = 'workers = %d; limits = { max_connections = %d; max_memory = "7MiB"; };'
    daemon = ackd(config % (3, 5000) + 'log = { level = "debug"; };')
    daemon.wait_for(r"debug start: memory: at most 1\d MiB: 7 MiB of data \(limits.max_memory\), "
                    r"\d MiB for 5000 connections, 2 MiB for 3 workers; "
                    r"a restart needs 1.3 times what connections hold$")
    daemon = ackd(config % (1, 1))
    daemon.wait_for("ready: 1 worker$")
    assert "memory: " not in daemon.log


@pytest.mark.parametrize("busy_poll", ["0", '"200us"', '"10ms"'])
def test_idle_daemon_uses_no_cpu_time(ackd, busy_poll):
    daemon = ackd(f"workers = 2; busy_poll = {busy_poll};")
    with daemon.connect() as s:
        for _ in range(100):
            s.sendall(b"x")
            assert read_exactly(s, 5) == b"Got x"
        time.sleep(0.1)
        before = daemon.cpu_seconds()
        time.sleep(1)
        used = daemon.cpu_seconds() - before
    assert used < (0.5 if sanitizer() == "emulator" else 0.05)


def test_busy_polling_does_not_sleep_after_an_event(ackd):
    daemon = ackd('workers = 1; busy_poll = "1s";')

    def polls():
        s.sendall(b"x")
        assert read_exactly(s, 5) == b"Got x"
        time.sleep(0.2)
        # a thread that polls runs or waits for a processor; the main thread sleeps
        states = [x.read_text().rsplit(") ", 1)[1][0]
                  for x in pathlib.Path(f"/proc/{daemon.pid}/task").glob("*/stat")]
        return states.count("R") == 1

    with daemon.connect() as s:
        wait_until(polls, "it to keep polling")


def test_busy_polling_ends_with_the_daemon(ackd):
    daemon = ackd('workers = 2; busy_poll = "1s"; limits = { drain_timeout = 60; };')
    with daemon.connect() as s:
        s.sendall(b"x")
        assert read_exactly(s, 5) == b"Got x"
        begin = time.monotonic()
        daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert time.monotonic() - begin < 30  # much less than drain_timeout


def test_timers_fire_during_busy_polling(ackd):
    daemon = ackd('workers = 1; busy_poll = "1s"; limits = { idle_timeout = "600ms"; };')
    begin = time.monotonic()
    with Frozen(daemon):  # the byte is there when the connection is accepted
        s = daemon.connect()
        s.sendall(b"x")
    with s:
        assert read_exactly(s, 5) == b"Got x"
        assert read_to_end(s) == b""
        assert 0.5 <= time.monotonic() - begin < within(5)
