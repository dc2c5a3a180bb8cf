"""Operation of the service with systemctl."""

import os
import pathlib
import re
import resource
import signal
import socket
import threading
import time

import pytest

from service import (CONFIG, PORT, Unit, connect, exchange, receive, receive_all, run, serves,
                     systemctl, wait_until)


LATE = "192.0.2.77"


def test_start_is_retried_until_the_address_exists(unit, journal):
    """systemd restarts the service without a limit until the host has the address."""
    CONFIG.write_text(f'address = "{LATE}";\n')
    unit.drop_in("[Service]\nRestartSec=10ms\n")
    assert unit.show("StartLimitIntervalUSec") == "0"
    assert unit.start(check=False).returncode != 0
    wait_until(lambda: unit.restarts > 6, "more starts than systemd's default limit", timeout=90)
    assert unit.state == "activating"
    said = journal.events("stop")[0]["MESSAGE"]
    assert said.endswith("freebind = true listens on an address that the host does not have yet")
    run("ip", "address", "add", f"{LATE}/32", "dev", "lo")
    try:
        wait_until(lambda: unit.state == "active", "the service to be up")
        assert exchange(b"x", (LATE, PORT)) == b"Got x"
    finally:
        run("ip", "address", "del", f"{LATE}/32", "dev", "lo")


@pytest.mark.parametrize("config, advice", [
    ('address = "127.0.0.1"; port = 7;', "a port below 1024 needs CAP_NET_BIND_SERVICE"),
    ('path = "/run/socket";', "the service can create sockets in /run/ackd"),
    ('path = "/home/socket";', "the service can create sockets in /run/ackd"),
])
def test_sandbox_errors_give_advice(unit, journal, config, advice):
    """The error message names the setting to change."""
    CONFIG.write_text(config)
    assert unit.start(check=False).returncode != 0
    assert advice in journal.wait_for("stop")["MESSAGE"]


@pytest.mark.parametrize("directory", ["/tmp", "/var/tmp"])
def test_path_in_a_private_directory_is_a_warning(unit, journal, directory):
    CONFIG.write_text(f'path = "{directory}/socket";')
    unit.start()
    warning = journal.wait_for("listen", lambda e: e["PRIORITY"] == "4")["MESSAGE"]
    assert f"unix:{directory}/socket cannot be reached from outside of the service" in warning
    assert "PrivateTmp=" in warning and "/run/ackd" in warning


def test_install_leaves_a_working_service(unit, installed):
    assert "update-systemd" in installed
    assert unit.show("LoadState") == "loaded"
    assert unit.show("UnitFileState") == "disabled"
    assert Unit("ackd.socket").show("UnitFileState") == "disabled"
    units = pathlib.Path(unit.show("FragmentPath")).parent
    verified = run("systemd-analyze", "verify", units / "ackd.service", units / "ackd@.service",
                   units / "ackd.socket")
    assert [line for line in verified.stdout.splitlines() if "ackd" in line] == []


def test_enable_now_starts_the_service(unit):
    unit.enable("--now")
    assert (unit.state, unit.show("UnitFileState")) == ("active", "enabled")
    assert unit.show("User") != "root"
    # Type=notify: the service is ready when start returns.
    assert exchange("Grüße".encode()) == "Got Grüße".encode()
    assert exchange(address=("::1", PORT)) == b"Got hello"


def test_status_shows_counters(unit):
    unit.start()
    with connect() as s:
        s.sendall(b"counted")
        assert receive(s, 11) == b"Got counted"
        wait_until(lambda: unit.show("StatusText").startswith("1 connection open"),
                   "the status to show the connection")
    wait_until(lambda: re.match(r"0 connections open, 1 served, 1 message, 7 bytes in, "
                                r"11 bytes out", unit.show("StatusText")), "the counters")


def test_stop_delivers_unread_replies(unit):
    unit.start()
    clients = []
    for i in range(1000):
        s = connect()
        s.sendall(b"message %d" % i)
        clients.append(s)
    # All are answered and none is read: stop must not discard any reply.
    wait_until(lambda: " 1000 messages" in unit.show("StatusText"), "all messages to be answered")
    unit.stop()
    for i, s in enumerate(clients):
        assert receive_all(s) == b"Got message %d" % i
    assert (unit.state, unit.show("Result")) == ("inactive", "success")


def test_stop_delivers_replies_queued_in_ackd(unit, journal):
    """Each of 1,000 clients has replies queued in ackd, beyond its socket buffer."""
    count, lines, prefix = 1000, 300, b"p" * 1000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    CONFIG.write_text(f'path = "/run/ackd/socket"; framing = "line"; ack_prefix = "{prefix.decode()}";'
                      " limits: { drain_timeout = 60; };\n")
    unit.start()
    clients = [connect("/run/ackd/socket") for _ in range(count)]
    for s in clients:
        s.sendall(b"x\n" * lines)
    for s in clients:
        assert receive(s, 1002) == prefix + b"x\n"
    stop = threading.Thread(target=unit.stop)
    stop.start()
    journal.wait_for("drain")
    for s in clients:
        assert receive_all(s) == (prefix + b"x\n") * (lines - 1)
    stop.join()
    assert (unit.state, unit.show("Result")) == ("inactive", "success")


@pytest.mark.parametrize("text", ['port = 70000;\n', 'port = ;\n', 'prot = 7;\n'])
def test_bad_configuration_does_not_loop(unit, journal, text):
    CONFIG.write_text("# a comment\n" + text)
    assert unit.start(check=False).returncode != 0
    assert (unit.state, unit.restarts) == ("failed", 0)
    assert unit.show("ExecMainStatus") == "78"
    journal.wait_for("stop", lambda e: f"{CONFIG}:2: " in e["MESSAGE"])
    assert f"{CONFIG}:2: " in unit.status(check=False).stdout


def test_usage_error_does_not_loop(unit):
    unit.drop_in("[Service]\nExecStart=\nExecStart=/usr/local/sbin/ackd --nonsense\n")
    assert unit.start(check=False).returncode != 0
    assert (unit.state, unit.restarts, unit.show("ExecMainStatus")) == ("failed", 0, "64")


def test_start_is_retried_while_the_port_is_in_use(unit, journal):
    """The error is logged, and systemd restarts ackd until the port is free."""
    with socket.create_server(("127.0.0.1", PORT), backlog=1):
        assert unit.start(check=False).returncode != 0
        unit.wait_for_exit_status(69)
        journal.wait_for("stop", lambda e: "in use" in e["MESSAGE"] and
                         f"127.0.0.1:{PORT}" in e["MESSAGE"])
    unit.wait_for_state("active")
    assert serves()


def test_reload_returns_when_it_is_in_force(unit):
    CONFIG.write_text('ack_prefix = "one ";\n')
    unit.start()
    before = unit.pid
    with connect() as old:
        old.sendall(b"a")
        assert receive(old, 5) == b"one a"
        for i in range(10):
            CONFIG.write_text(f'ack_prefix = "{i} ";\n')
            unit.reload()
            assert exchange(b"b") == f"{i} b".encode()
        old.sendall(b"c")
        assert receive(old, 5) == b"one c"
    assert unit.pid == before


def test_bad_reload_fails_and_changes_nothing(unit, journal):
    unit.start()
    CONFIG.write_text("\nport = yes;\n")
    assert unit.reload(check=False).returncode != 0
    assert unit.state == "active"
    assert serves()
    assert [m for m in journal.messages() if f"{CONFIG}:2: " in m]
    # With the signal alone, the daemon itself rejects the configuration.
    unit.kill("--signal=HUP")
    journal.wait_for("reload_failed", lambda e: f"{CONFIG}:2: " in e["MESSAGE"] and
                     e["PRIORITY"] == "3")
    assert serves()
    CONFIG.write_text("port = 10081;\n")
    unit.reload()
    assert serves(("127.0.0.1", 10081))
    assert not serves()


AS_A_STRANGER = """
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
"""


def stranger(code, *arguments, **options):
    """Runs Python code as an unprivileged user other than that of ackd."""
    return run("/usr/bin/python3", "-c", AS_A_STRANGER + code, *arguments, **options)


def test_other_users_cannot_disturb_a_reload(unit, names):
    """Neither through the control socket nor by binding the abstract name."""
    names.append("ackd@blue.service")
    instance = Unit(names[-1])
    directory = CONFIG.parent / "ackd"
    directory.mkdir(exist_ok=True)
    (directory / "blue.conf").write_text("port = 7001;\n")
    for one, runtime in ((unit, "/run/ackd"), (instance, "/run/ackd-blue")):
        one.start()
        for attempt in ("s.connect(sys.argv[1])", "os.unlink(sys.argv[1])",
                        "s.bind(sys.argv[1] + '2')"):
            done = stranger(f"s = socket.socket(socket.AF_UNIX)\n{attempt}\n", f"{runtime}/control",
                            check=False)
            assert "PermissionError" in done.stdout, (attempt, done.stdout)
        # Every user can derive the abstract name and bind it.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(f"\0ackd-reload-{one.pid}")
            one.reload()
        one.restart()
        one.reload()
        assert run("/usr/local/sbin/ackd", "--reload", check=False).returncode != 0
        run("env", f"RUNTIME_DIRECTORY={runtime}", "/usr/local/sbin/ackd", "--reload")


def test_reload_to_a_port_in_use_fails(unit):
    unit.start()
    with socket.create_server(("127.0.0.1", 10081)):
        CONFIG.write_text("port = 10081;\n")
        assert unit.reload(check=False).returncode != 0
    assert serves()


def test_twenty_restarts_succeed(unit):
    unit.start()
    for _ in range(20):
        unit.restart()
    assert serves()
    assert unit.show("Result") == "success"


def test_killed_daemon_is_restarted(unit):
    unit.start()
    before = unit.pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: unit.restarts == 1 and unit.state == "active", "the restart")
    assert unit.pid != before
    assert serves()


def test_instances_run_in_parallel(unit, names):
    names += ["ackd@blue.service", "ackd@green.service"]
    directory = CONFIG.parent / "ackd"
    directory.mkdir(exist_ok=True)
    for name, port in ("blue", 7001), ("green", 7002):
        (directory / f"{name}.conf").write_text(
            f'listeners = ( {{ name = "{name}"; port = {port}; ack_prefix = "{name} "; }},\n'
            f'  {{ name = "local"; path = "/run/ackd-{name}/socket"; }} );\n')
        systemctl("start", f"ackd@{name}")
    unit.start()
    assert exchange(b"x", ("127.0.0.1", 7001)) == b"blue x"
    assert exchange(b"x", ("127.0.0.1", 7002)) == b"green x"
    assert exchange(b"x", "/run/ackd-blue/socket") == b"Got x"
    systemctl("restart", "ackd@blue")
    systemctl("reload", "ackd@green")
    assert exchange(b"x", "/run/ackd-blue/socket") == b"Got x"
    systemctl("stop", "ackd@blue")
    assert exchange(b"x", "/run/ackd-green/socket") == b"Got x"
    assert serves()


def test_restarted_instance_keeps_its_connections(unit, names):
    """The name contains characters that systemd escapes; ExecStop= passes it on unchanged."""
    name = run("systemd-escape", "a-b/c:1.x_y").stdout.strip()
    assert "\\x2d" in name
    if int(run("systemctl", "--version").stdout.split()[1]) >= 257:
        name = "a-b-c:1.x_y"  # its executor cannot read a runtime directory with a backslash
    names.append(f"ackd@{name}.service")
    instance = Unit(names[-1])
    directory = CONFIG.parent / "ackd"
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.conf").write_text('port = 7001; framing = "line";\n')
    instance.start()
    with connect(("127.0.0.1", 7001)) as s:
        s.sendall(b"a\n")
        assert receive(s, 6) == b"Got a\n"
        instance.reload()
        before = instance.pid
        instance.restart()
        assert instance.pid != before
        s.sendall(b"b\n")
        assert receive(s, 6) == b"Got b\n"


PREFIX = b"p" * 1000
BIG_REPLIES = f'ack_prefix = "{PREFIX.decode()}";\n'


def make_stuck(s):
    """Causes 8 MB of replies, more than sockets can hold, and reads one. A drain sends them all."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.sendall(b"x\n" * 8000)
    assert receive(s, 1002) == PREFIX + b"x\n"


# TimeoutStopSec= also limits the time of ExecStop=, which a stop does not need.
SHORT_STOP = "[Service]\nExecStop=\nTimeoutStopSec=2\n"


def test_long_drain_extends_the_stop_timeout(unit):
    """ackd extends TimeoutStopSec= by reporting progress."""
    CONFIG.write_text('framing = "line"; limits: { drain_timeout = 6; };\n' + BIG_REPLIES)
    unit.drop_in(SHORT_STOP)
    unit.start()
    with connect() as s:
        make_stuck(s)
        begun = time.monotonic()
        unit.stop(timeout=60)
        assert time.monotonic() - begun > 4
    assert (unit.state, unit.show("Result")) == ("inactive", "success")


DRAIN_DELAY = ('metrics = { port = 9180; }; framing = "line"; log = { level = "debug"; };\n'
               'limits = { drain_delay = "%s"; drain_timeout = 3; };\n')


def health():
    """Returns the status line of /healthz."""
    return exchange(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", ("127.0.0.1", 9180)).split(b"\r")[0]


def test_stop_waits_for_drain_delay(unit, journal):
    """The delay, and the drain after it, take longer than TimeoutStopSec=."""
    CONFIG.write_text(DRAIN_DELAY % "1h" + BIG_REPLIES)
    unit.drop_in(SHORT_STOP)
    unit.start()
    assert health() == b"HTTP/1.1 200 OK"
    with connect() as stuck:
        make_stuck(stuck)
        begun = time.monotonic()
        stop = threading.Thread(target=lambda: unit.stop(timeout=90))
        stop.start()
        journal.wait_for("drain")
        assert health() == b"HTTP/1.1 503 Service Unavailable"
        unit.kill("--signal=HUP")
        assert journal.wait_for("signal_ignored")["MESSAGE"].endswith(
            "SIGHUP is ignored: ackd is waiting to drain")
        while time.monotonic() - begun < 3:
            assert exchange(b"new\n") == PREFIX + b"new\n"
        unit.kill()  # ends the delay
        stop.join()
    assert len(journal.events("drain")) == 3  # the delay, the drain, and its end by drain_timeout
    assert (unit.state, unit.show("Result")) == ("inactive", "success")
    assert unit.show("ExecMainStatus") == "0"


def test_longest_drain_delay(unit, journal):
    """A restart that hands over does not wait for it, and a second signal ends it."""
    CONFIG.write_text(DRAIN_DELAY % "24d")
    unit.start()
    with connect() as s:
        s.sendall(b"a\n")
        assert receive(s, 6) == b"Got a\n"
        unit.restart()
        s.sendall(b"b\n")
        assert receive(s, 6) == b"Got b\n"
        unit.stop("--no-block")
        journal.wait_for("drain", lambda e: f"draining in {24 * 86400 * 1000} ms" in e["MESSAGE"])
        assert exchange(b"new\n") == b"Got new\n"
        unit.kill()
        assert s.recv(100) == b""
    unit.wait_for_state("inactive")
    assert unit.show("Result") == "success"
    # Further signals of the restart, if there are any, are no news.
    assert all(e["PRIORITY"] == "7" for e in journal.events("signal_ignored"))


def test_restart_during_drain_delay_waits_for_the_drain(unit, journal):
    """The stop has already said that no process follows, so connections are drained."""
    CONFIG.write_text(DRAIN_DELAY % "2s")
    unit.start()
    before = unit.pid
    with connect() as s:
        s.sendall(b"a\n")
        assert receive(s, 6) == b"Got a\n"
        unit.stop("--no-block")
        journal.wait_for("drain")
        unit.restart(timeout=60)
        assert s.recv(100) == b""
    assert unit.pid != before
    assert exchange(b"new\n") == b"Got new\n"
    assert not journal.events("handover")


@pytest.mark.parametrize("by", ["ackd-handover.service", "ExecStop="])
def test_restart_that_drains_has_a_drain_delay(unit, journal, by):
    """SIGTERM is ignored once, because a restart may send it: it does if ExecStop= has run."""
    CONFIG.write_text(DRAIN_DELAY % "1h" + "keep_connections = false;\n")
    unit.start()
    handover = Unit("ackd-handover.service")
    wait_until(lambda: handover.state == "active", "the hand-over unit")
    if by == "ExecStop=":
        handover.stop()
    with connect() as s:
        s.sendall(b"a\n")
        assert receive(s, 6) == b"Got a\n"
        restart = threading.Thread(target=lambda: unit.restart(timeout=60))
        restart.start()
        journal.wait_for("drain")
        # ackd-handover.service may end before ackd has told systemd that it stops. Then ExecStop= runs too.
        wait_until(lambda: unit.show("SubState") == "stop-sigterm", "the end of ExecStop=")
        if "pid=0 " in unit.show("ExecStop"):
            assert by != "ExecStop="
            unit.kill()
        journal.wait_for("signal_ignored", lambda e: "SIGTERM is ignored" in e["MESSAGE"])
        s.sendall(b"b\n")
        assert receive(s, 6) == b"Got b\n"
        unit.kill()
        assert s.recv(100) == b""
        restart.join()
    assert exchange(b"new\n") == b"Got new\n"
    CONFIG.write_text("")
    unit.reload()  # so that the end of the test does not wait
