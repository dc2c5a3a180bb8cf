"""The drain after SIGTERM and SIGINT."""

import fcntl
import signal
import socket
import struct
import termios
import time

import pytest

from faults import Draining
from harness import Frozen, converse, read_exactly, read_to_end, wait_until, within
from prom import is_built, request

ENDS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", ENDS)
def test_idle_daemon_ends_immediately(ackd, number):
    daemon = ackd("limits = { drain_timeout = 60; };")
    begin = time.monotonic()
    daemon.stop(number)
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("number", ENDS)
def test_idle_connections_are_closed_immediately(ackd, number):
    daemon = ackd("limits = { drain_timeout = 60; };")
    clients = [daemon.connect() for _ in range(20)]
    for s in clients:
        s.sendall(b"x")
        assert read_exactly(s, 5) == b"Got x"
    begin = time.monotonic()
    daemon.signal(number)
    for s in clients:
        assert read_to_end(s) == b""
        s.close()
    assert daemon.wait() == 0
    assert time.monotonic() - begin < 30


def test_received_input_is_answered(ackd):
    daemon = ackd('framing = "line";')
    clients = [daemon.connect() for _ in range(10)]
    for s in clients:
        s.sendall(b"warm up\n")
        assert read_exactly(s, 12) == b"Got warm up\n"
    lines = b"".join(b"line %d\n" % i for i in range(2000))
    with Frozen(daemon):
        for s in clients:
            s.sendall(lines)
        daemon.signal(signal.SIGTERM)
    expected = b"".join(b"Got line %d\n" % i for i in range(2000))
    for s in clients:
        assert read_to_end(s) == expected
    assert daemon.wait() == 0


@pytest.mark.parametrize(
    ("framing", "sent", "reply"),
    [
        ("line", b"whole\nhalf", b"Got whole\n"),
        ("stream", "да".encode()[:3], "Got д".encode()),
    ],
)
def test_half_a_message_gets_no_reply_and_no_nak(ackd, framing, sent, reply):
    daemon = ackd(f'framing = "{framing}";')
    with daemon.connect() as s:
        s.sendall(sent)
        assert read_exactly(s, len(reply)) == reply
        daemon.signal(signal.SIGTERM)
        assert read_to_end(s) == b""
    assert daemon.wait() == 0


@pytest.mark.parametrize(
    ("framing", "sent", "reply"),
    [
        ("line", b"whole\nhalf", b"Got whole\n"),
        ("line", b"whole\nha\xff", b"Got whole\nNAK 8 invalid start byte\n"),
        ("stream", b"ok\xff", b"Got ok\nNAK 2 invalid start byte\n"),
    ],
)
def test_unread_input_is_answered(ackd, framing, sent, reply):
    """Input that the daemon has not read at the signal gets its replies, and the NAK of a fault."""
    daemon = ackd(f'framing = "{framing}";')
    with daemon.connect() as s:
        with Frozen(daemon):
            s.sendall(sent)
            daemon.signal(signal.SIGTERM)
        assert read_to_end(s) == reply
    assert daemon.wait() == 0


def test_at_most_1_mib_per_connection_is_read(ackd, faults):
    daemon = ackd('reply = "echo";', env=faults.environment())
    data = b"0123456789abcdef" * (1 << 16)

    def arrived(theirs):
        return struct.unpack("i", fcntl.ioctl(theirs, termios.FIONREAD, b"\0" * 4))[0]

    with daemon.connect() as s:
        for _ in range(40):  # the kernel enlarges the buffer of a fast reader
            assert converse(s, data, half_close=False, until=len(data)) == data
        with daemon.socket_of(s) as theirs, Draining(daemon, faults):
            sent = daemon.fill(s, data, polls=True)
            n = arrived(theirs)
        if n <= 1 << 20:
            pytest.skip(f"the kernel takes no more than {n} bytes of {sent}")
        assert read_to_end(s) == data[: 1 << 20]
    assert daemon.wait() == 0


def test_unsent_replies_are_delivered(ackd):
    """A slow reader gets all replies from before the signal, while the daemon drains."""
    daemon = ackd('reply = "echo"; log = { level = "debug"; }; limits = { drain_timeout = 60; };')
    with daemon.connect(receive_buffer=4096) as s:
        sent = daemon.fill(s, b"0123456789")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("draining")
        received = read_to_end(s, timeout=60)
    assert received == (b"0123456789" * (sent // 10 + 1))[: len(received)]
    assert len(received) > 1 << 20
    assert daemon.wait() == 0
    # Data still in the client's kernel did not arrive. All received input was answered.
    assert "ended: drained; " in daemon.log
    assert f"{len(received)} bytes in, {len(received)} bytes out" in daemon.log


def test_input_after_unsent_replies_is_answered(ackd, directory):
    """On a UNIX socket sent data has arrived, so all of it is answered, even if unread so far."""
    daemon = ackd(
        f'path = "{directory}/s"; reply = "echo"; limits = {{ drain_timeout = 60; }};'
    )
    with daemon.connect() as s:
        sent = daemon.fill(s, b"0123456789")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("draining")
        assert read_to_end(s) == (b"0123456789" * (sent // 10 + 1))[:sent]
    assert daemon.wait() == 0


def test_new_connections_are_not_accepted(ackd):
    daemon = ackd('reply = "echo"; limits = { drain_timeout = 60; };')
    address = daemon.address()
    with daemon.connect(receive_buffer=4096) as s:
        daemon.fill(s, b"0123456789")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("draining")

        def refused():
            try:
                address.connect().close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                pass  # it was in the queue of the closed socket
            return False

        wait_until(refused, "connections to be refused")
        read_to_end(s, timeout=60)
    assert daemon.wait() == 0


def test_simultaneous_signals_end_the_daemon(ackd):
    for _ in range(10):
        daemon = ackd("limits = { drain_timeout = 60; };")
        with daemon.connect() as s:
            s.sendall(b"x")
            assert read_exactly(s, 5) == b"Got x"
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                daemon.signal(number)
            assert daemon.wait() == 0
        daemon.check_log()


@pytest.mark.parametrize("number", [*ENDS, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_during_the_exit_are_harmless(ackd, number):
    """The process always has a handler, so the exit stays orderly."""
    for _ in range(5):
        daemon = ackd()
        daemon.signal(signal.SIGTERM)
        while daemon.process.poll() is None:
            daemon.signal(number)
        assert daemon.process.returncode == 0


def test_signal_during_the_start_never_hangs(ackd):
    """At any moment of the start, the process ends cleanly or by the signal, and never hangs."""
    for delay in range(20):
        daemon = ackd(ready=False)
        time.sleep(delay / 1000)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() in (0, -signal.SIGTERM)
        daemon.check_log()


def test_drain_delay_accepts_before_the_drain(ackd, config_file):
    """/healthz says 503 immediately; clients are accepted and served until the delay ends."""
    metrics = 'metrics = { address = "127.0.0.1"; port = 0; };' if is_built(config_file) else ""
    daemon = ackd(f'limits = {{ drain_delay = "{within(1)}s"; drain_timeout = 60; }};' + metrics)
    with daemon.connect() as s:
        begin = time.monotonic()
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("draining in .* 503")
        if metrics:
            assert request(daemon.address("metrics"), "/healthz")[::2] == (503, "waiting to drain\n")
        assert daemon.exchange(b"x") == b"Got x"
        s.sendall(b"y")
        assert read_exactly(s, 5) == b"Got y"
        assert read_to_end(s) == b""
        assert time.monotonic() - begin >= within(1)
    assert daemon.wait() == 0


def test_second_signal_ends_the_drain_delay(ackd):
    """The next one ends the drain."""
    daemon = ackd('reply = "echo"; limits = { drain_delay = "1h"; drain_timeout = "1h"; };')
    with daemon.connect(receive_buffer=4096) as s:
        daemon.fill(s, b"x")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("draining in 3600000 ms")
        assert daemon.exchange(b"x") == b"x"
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("SIGHUP is ignored: ackd is waiting to drain")
        daemon.signal(signal.SIGINT)
        daemon.wait_for("draining 1 connection, for at most 3600000 ms")
        for name in "SIGHUP", "SIGUSR2":
            daemon.signal(signal.Signals[name])
            daemon.wait_for(f"{name} is ignored: ackd is draining")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_reload_that_waits_for_another_is_ignored_in_a_drain(ackd, directory):
    """The second reload waits until the first has closed the old socket."""
    daemon = ackd(f'path = "{directory}/a"; limits = {{ drain_delay = "1h"; }};')
    daemon.write_config(f'path = "{directory}/b"; limits = {{ drain_delay = "1h"; }};')
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("reloaded the configuration")
    with Frozen(daemon):
        daemon.signal(signal.SIGHUP)
        daemon.signal(signal.SIGTERM)
    daemon.wait_for("the requested reload is ignored: ackd is waiting to drain")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


def test_sigusr2_without_a_store_drains(ackd):
    daemon = ackd()
    with daemon.connect() as s:
        s.sendall(b"x")
        assert read_exactly(s, 5) == b"Got x"
        daemon.signal(signal.SIGUSR2)
        assert read_to_end(s) == b""
    assert daemon.wait() == 0


def test_drain_ends_each_connection_separately(ackd):
    """Drain ends each connection according to its state."""
    daemon = ackd('framing = "line"; workers = 2;')
    half, busy, silent = (daemon.connect() for _ in range(3))
    half.sendall(b"no end")
    with Frozen(daemon):
        busy.sendall(b"a\nb\n")
        busy.shutdown(socket.SHUT_WR)
        daemon.signal(signal.SIGTERM)
    assert read_to_end(busy) == b"Got a\nGot b\n"
    assert read_to_end(half) == b""
    assert read_to_end(silent) == b""
    assert daemon.wait() == 0


def test_lingering_nak_is_delivered_in_a_drain(ackd):
    daemon = ackd()
    with daemon.connect() as s:
        s.sendall(b"\xff" + b"x" * 100)
        assert read_exactly(s, 25) == b"NAK 0 invalid start byte\n"
        daemon.signal(signal.SIGTERM)
        assert read_to_end(s) == b""
    assert daemon.wait() == 0


def test_interrupted_echo_is_a_prefix_of_the_input(ackd):
    """A client that keeps sending receives a prefix of its input."""
    daemon = ackd('reply = "echo";')
    data = "целиком ".encode() * 400_000
    with daemon.connect() as s:
        s.sendall(data[:15])
        assert read_exactly(s, 15) == data[:15]
        daemon.signal(signal.SIGTERM)
        try:
            received = data[:15] + converse(s, data[15:])
        except (BrokenPipeError, ConnectionResetError):
            received = b""
    assert data.startswith(received)
    assert daemon.wait() == 0


# ---- during the look-up of a name ----


@pytest.fixture
def hanging(faults):
    """Makes look-ups hang until the end of the test."""
    faults.lookup_hangs = 1
    yield faults
    faults.lookup_hangs = 0


def reload_that_hangs(daemon, faults):
    daemon.write_config('address = "no-such-host.invalid";')
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: faults.lookup_calls > 0, "the look-up")


def test_exit_does_not_wait_for_a_look_up(ackd, hanging):
    daemon = ackd('framing = "line";', env=hanging.environment())
    with daemon.connect() as s:
        s.sendall(b"warm up\n")
        assert read_exactly(s, 12) == b"Got warm up\n"
        reload_that_hangs(daemon, hanging)
        with Frozen(daemon):
            s.sendall(b"last\n")
            daemon.signal(signal.SIGTERM)
        assert read_to_end(s) == b"Got last\n"
    assert daemon.wait(30) == 0
    assert "reload failed: operation canceled" in daemon.log


def test_second_signal_does_not_wait_for_a_look_up(ackd, hanging, directory):
    """It does not wait for a connection with unread replies either."""
    config = f'path = "{directory}/s"; framing = "line"; limits = {{ drain_timeout = 60; }};'
    daemon = ackd(config, env=hanging.environment())
    with daemon.connect() as s:
        daemon.fill(s, b"a line\n")
        reload_that_hangs(daemon, hanging)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("draining")
        begin = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
        assert time.monotonic() - begin < 30


def test_reload_fails_if_its_look_up_ends_in_a_drain(ackd, hanging, directory):
    config = f'path = "{directory}/s"; framing = "line"; limits = {{ drain_timeout = 60; }};'
    daemon = ackd(config, env=hanging.environment())
    with daemon.connect() as s:
        daemon.fill(s, b"a line\n")
        reload_that_hangs(daemon, hanging)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("draining")
        hanging.lookup_hangs = 0
        daemon.wait_for("reload failed")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(30) == 0


@pytest.mark.parametrize("number", ENDS)
def test_signal_ends_a_start_that_waits_for_a_look_up(ackd, hanging, number):
    config = 'address = "no-such-host.invalid";'
    daemon = ackd(config, env=hanging.environment(), ready=False)
    wait_until(lambda: hanging.lookup_calls > 0, "the look-up")
    daemon.signal(number)
    assert daemon.wait(30) == 0
    assert "stopped" in daemon.log


def test_other_signals_do_not_end_a_start(ackd, hanging):
    """The start continues when the name is resolved, and the reload follows it."""
    config = 'listeners = ( { name = "a"; address = "127.0.0.1"; port = 0; },'
    config += ' { name = "b"; address = "0x7f000001"; port = 0; } );'
    daemon = ackd(config, env=hanging.environment(), arguments=(), ready=False)
    wait_until(lambda: hanging.lookup_calls > 0, "the look-up")
    for name in "SIGUSR1", "SIGUSR2":
        daemon.signal(signal.Signals[name])
        daemon.wait_for(f"{name} is ignored: ackd is starting")
    daemon.signal(signal.SIGHUP)
    hanging.lookup_hangs = 0
    daemon.wait_for("reloaded the configuration")
    assert daemon.exchange(b"x", "b") == b"Got x"
