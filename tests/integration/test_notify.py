"""Notifications of the service manager: READY, RELOADING, STATUS, WATCHDOG, STOPPING."""

import re
import signal
import time

import pytest

from harness import read_exactly, wait_until, within
from manager import Manager, skip_without_systemd


@pytest.fixture
def manager(directory):
    skip_without_systemd()
    manager = Manager(directory)
    yield manager
    manager.close()


@pytest.fixture
def start(manager, directory):
    daemons = []

    def start_daemon(config):
        daemons.append(manager.daemon(directory, config))
        wait_until(lambda: manager.has_said("READY"), "READY=1")
        return daemons[-1]

    yield start_daemon
    for daemon in daemons:
        daemon.stop()


def index(manager, field, after=-1):
    """Returns the index of the first notification with this field, after a given one."""
    return wait_until(lambda: [i for i, said in enumerate(manager.said)
                               if i > after and field in said], field)[0]


def test_reload_is_notified(manager, start):
    """RELOADING with its start time, then READY, also for a failed reload."""
    daemon = start('address = "127.0.0.1";')
    for config, works in ('reply = "echo"; address = "127.0.0.1";', True), ("port = ;", False):
        daemon.config_path.write_text(config)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        mark = len(manager.said) - 1
        assert daemon.reload() == works
        at = index(manager, "RELOADING", mark)
        assert manager.said[at]["RELOADING"] == "1"
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert before <= int(manager.said[at]["MONOTONIC_USEC"]) <= now
        assert manager.said[index(manager, "READY", at)]["READY"] == "1"


def test_status_has_live_counters(manager, start):
    daemon = start('address = "127.0.0.1";')
    with daemon.connect() as s:
        s.sendall(b"hello")
        assert read_exactly(s, 9) == b"Got hello"
        wait_until(lambda: any(re.match(r"1 connection open, 1 served, 1 message, 5 bytes in, "
                                        "9 bytes out", said.get("STATUS", ""))
                               for said in manager.said), "the counters in the status")


def test_drain_extends_the_timeout(manager, start):
    """ackd sends STOPPING and extends the timeout while it delivers data; a second signal ends it."""
    daemon = start('address = "127.0.0.1"; reply = "echo"; limits: { drain_timeout = 60; };')
    with daemon.connect(receive_buffer=4096) as s:
        daemon.fill(s, b"x")
        daemon.signal(signal.SIGTERM)
        at = index(manager, "STOPPING")
        assert manager.said[at]["STOPPING"] == "1"
        first = index(manager, "EXTEND_TIMEOUT_USEC")
        again = index(manager, "EXTEND_TIMEOUT_USEC", first)
        # Each notification extends the timeout beyond the next one.
        assert all(int(manager.said[i]["EXTEND_TIMEOUT_USEC"]) >= 1000000 for i in (first, again))
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_drain_delay_extends_the_timeout(manager, start):
    daemon = start("limits: { drain_delay = 3600; };")
    daemon.signal(signal.SIGTERM)
    at = index(manager, "STOPPING")
    first = index(manager, "EXTEND_TIMEOUT_USEC", at)
    index(manager, "EXTEND_TIMEOUT_USEC", first)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


def test_hand_over_is_notified(manager, start):
    daemon = start('address = "127.0.0.1";')
    daemon.signal(signal.SIGUSR2)
    assert daemon.wait() == 0
    assert manager.has_said("STOPPING")


def test_watchdog_continues_while_draining(manager, start):
    """A worker that has ended does not stop the watchdog notifications."""
    manager.environment["WATCHDOG_USEC"] = "1000000"
    daemon = start('address = "127.0.0.1"; workers = 2; reply = "echo";')
    with daemon.connect() as s:  # unread replies keep one of the workers from ending
        daemon.fill(s, b"x")
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: "draining" in daemon.log, "the drain")
        at = index(manager, "STOPPING")
        for _ in range(3):
            at = index(manager, "WATCHDOG", at)
    assert daemon.wait() == 0


def test_watchdog_is_notified_at_least_twice_per_interval(manager, start):
    """The notifications are sent while nothing else happens."""
    manager.environment["WATCHDOG_USEC"] = "1000000"
    begun = time.monotonic()  # before the first, however late this test sees it
    start('address = "127.0.0.1"; workers = 2;')
    at = index(manager, "WATCHDOG")
    for _ in range(6):
        at = index(manager, "WATCHDOG", at)
    assert manager.said[at]["WATCHDOG"] == "1"
    assert 1 < time.monotonic() - begun < within(6)  # periodic, without a busy loop
