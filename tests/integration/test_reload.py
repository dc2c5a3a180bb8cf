"""SIGHUP: a new configuration takes effect completely or not at all, without disturbing clients."""

import os
import signal
import socket
import threading
import time

import pytest

from harness import Address, free_port, read_exactly, read_to_end, sanitizer, wait_until
from prom import is_built, scrape


def ask(s, data=b"x"):
    s.sendall(data)
    return s.recv(1000)


def reload_with(daemon, config):
    daemon.write_config(config)
    return daemon.reload()


def refused(address):
    try:
        address.connect().close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except ConnectionResetError:
        pass
    return False


def test_new_connections_have_the_new_settings(ackd):
    daemon = ackd('ack_prefix = "old "; workers = 2;')
    with daemon.connect() as old:
        assert ask(old) == b"old x"
        assert reload_with(daemon, 'ack_prefix = "new "; workers = 2;')
        assert daemon.exchange(b"x") == b"new x"
        assert ask(old) == b"old x"


def test_invalid_configuration_changes_nothing(ackd):
    daemon = ackd('ack_prefix = "old ";')
    for bad, said in (
        ("port = 70000;", "port: found 70000"),
        ('ack_prefix = "new "; colour = "red";', "colour"),
        ("reply = ;", "syntax error"),
        ('address = "no-such-host.invalid";', "cannot resolve"),
        ('address = "192.0.2.1"; ack_prefix = "new ";', "192.0.2.1"),
    ):
        mark = daemon.mark()
        assert not reload_with(daemon, bad)
        daemon.wait_for(said, after=mark)
        assert daemon.exchange(b"x") == b"old x"
    os.unlink(daemon.config_path)
    assert not daemon.reload()
    assert daemon.exchange(b"x") == b"old x"
    assert reload_with(daemon, 'ack_prefix = "new ";')
    assert daemon.exchange(b"x") == b"new x"


def test_outcome_is_logged_after_any_number_of_errors(ackd):
    daemon = ackd("")
    mark = daemon.mark()
    assert not reload_with(daemon, "".join(f"unknown_{i} = 1;\n" for i in range(900)))
    said = daemon.log.splitlines()[mark:]
    assert sum("no such setting" in line for line in said) == 100
    assert '800 more errors; "ackd -t" shows all' in said[-2]
    assert "reload failed: error in the configuration" in said[-1]


def test_one_invalid_listener_changes_nothing(ackd):
    """The other listeners of the file are already bound, and are closed again."""
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listener = '{{ name = "{}"; address = "127.0.0.1"; port = {}; }}'
        daemon = ackd('listeners = ( { name = "a"; } );')
        assert not reload_with(
            daemon,
            'listeners = ( { name = "a"; ack_prefix = "new "; },'
            + listener.format("b", port)
            + ","
            + listener.format("c", taken.getsockname()[1])
            + ");",
        )
    assert refused(Address(f"127.0.0.1:{port}"))
    assert daemon.exchange(b"x", "a") == b"Got x"


def test_invalid_metrics_address_changes_nothing(ackd, config_file, directory):
    """The mode of a kept socket does not change either."""
    if not is_built(config_file):
        pytest.skip("this ackd has no metrics")
    config = f'path = "{directory}/s"; mode = "%s"; metrics = {{ address = "127.0.0.1"; port = %d; }};'
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        daemon = ackd(config % ("0600", 0))
        assert not reload_with(daemon, config % ("0666", taken.getsockname()[1]))
    assert os.stat(f"{directory}/s").st_mode & 0o777 == 0o600
    assert scrape(daemon.address("metrics"))


def test_listeners_can_be_added_and_removed(ackd, directory):
    daemon = ackd('listeners = ( { name = "a"; }, { name = "b"; } );')
    a, b = daemon.address("a"), daemon.address("b")
    with b.connect() as kept:
        assert ask(kept) == b"Got x"
        assert reload_with(
            daemon,
            f'listeners = ( {{ name = "a"; }}, {{ name = "c"; path = "{directory}/s"; }} );',
        )
        wait_until(lambda: refused(b), "the removed listener to be closed")
        assert daemon.exchange(b"x", "c") == b"Got x"
        assert daemon.address("a").port == a.port
        assert daemon.exchange(b"x", "a") == b"Got x"
        assert ask(kept) == b"Got x"  # a connection survives its listener
    assert reload_with(daemon, 'listeners = ( { name = "a"; } );')
    wait_until(lambda: not os.path.lexists(f"{directory}/s"), "the socket's file to be removed")


def test_reload_changes_max_memory(ackd):
    config = (
        'framing = "line"; log = { level = "debug"; };'
        ' limits = { max_line = "1MiB"; max_memory = "%s"; };'
    )
    line = b"x" * 300_000 + b"\n"
    daemon = ackd(config % "2MiB")
    assert daemon.exchange(line) == b"Got " + line
    for size, fits in (("64KiB", False), ("2MiB", True)):
        daemon.write_config(config % size)
        assert daemon.reload()
        if fits:
            assert daemon.exchange(line) == b"Got " + line
            continue
        with daemon.connect() as s:
            try:
                s.sendall(line)
            except (BrokenPipeError, ConnectionResetError):
                pass
            daemon.wait_for("limits.max_memory is used up")


def test_unchanged_listener_is_not_closed(ackd):
    """The sockets stay the same, so that no connection in their queues is lost."""
    daemon = ackd('workers = 2; listeners = ( { name = "a"; } );')

    def listening():
        return [line for line in daemon.log.splitlines() if "listening on" in line]

    before = listening()
    for i in range(5):
        assert reload_with(
            daemon, f'workers = 2; listeners = ( {{ name = "a"; greeting = "{i}"; }} );'
        )
    assert listening() == before


def test_renamed_listener_keeps_its_socket(ackd):
    port = free_port()
    config = (
        'listeners = ( {{ name = "{}"; address = "127.0.0.1"; port = {};'
        ' greeting = "${{listener}}:"; }} );'
    )
    daemon = ackd(config.format("a", port), arguments=[])
    assert daemon.exchange(b"") == b"a:"
    for name in ("b", "c"):
        assert reload_with(daemon, config.format(name, port))
        assert daemon.exchange(b"") == f"{name}:".encode()


def test_address_can_change(ackd):
    daemon = ackd('address = "127.0.0.1";')
    old = daemon.address()
    assert reload_with(daemon, 'address = "127.0.0.2";')
    new = daemon.addresses()[-1]
    assert new.sockaddr[0] == "127.0.0.2"
    with new.connect() as s:
        assert ask(s) == b"Got x"
    wait_until(lambda: refused(old), "the old address to be closed")


def test_queued_clients_of_a_removed_listener_are_served(ackd, faults):
    """These clients are already connected from their point of view."""

    def config(name, address, port):
        return (
            'workers = 1; port = 0; listeners = ( { name = "a"; address = "127.0.0.1"; },'
            f' {{ name = "{name}"; address = "{address}"; port = {port}; }} );'
        )

    daemon = ackd(config("old", "127.0.0.2", 0), env=faults.environment(), arguments=())
    faults.delay_us = 50_000
    before = faults.accept_calls
    others = [daemon.connect("a") for _ in range(64)]
    wait_until(lambda: faults.accept_calls > before, "the worker to be busy")
    clients = [daemon.connect("old") for _ in range(5)]
    for s in clients:
        s.sendall(b"x")
    daemon.write_config(config("new", "127.0.0.3", 0))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("new: listening on")
    faults.delay_us = 0
    for s in clients:
        assert read_exactly(s, 5) == b"Got x"
    for s in clients + others:
        s.close()
    wait_until(lambda: refused(daemon.address("old")), "the old address to be closed")


def test_limits_access_and_log_level_are_reloaded(ackd):
    daemon = ackd("limits = { max_connections = 1; };")
    with daemon.connect() as s:
        assert ask(s) == b"Got x"
        with daemon.connect() as other:
            assert read_to_end(other) == b"NAK 0 too many connections\n"
        assert reload_with(daemon, 'log = { level = "debug"; };')
        with daemon.connect() as other:
            assert ask(other) == b"Got x"
        daemon.wait_for(r"debug connect: .*connection 2 from")
    assert reload_with(daemon, 'deny = ["0.0.0.0/0", "::/0"];')
    with daemon.connect() as s:
        try:
            assert s.recv(1) == b""
        except ConnectionResetError:
            pass
    assert reload_with(daemon, "")
    assert daemon.exchange(b"x") == b"Got x"


def test_incomplete_line_is_continued_after_a_reload(ackd):
    daemon = ackd('framing = "line"; limits = { max_line = 100; };')
    with daemon.connect() as s:
        assert ask(s, b"x\n") == b"Got x\n"  # so it has been accepted
        s.sendall(b"first half, ")
        assert reload_with(daemon, 'framing = "stream"; reply = "echo"; limits = { max_line = 5; };')
        s.sendall(b"second half\n")
        expected = b"Got first half, second half\n"
        assert read_exactly(s, len(expected)) == expected
    assert daemon.exchange(b"x") == b"x"


def test_settings_that_need_a_restart_are_logged(ackd):
    daemon = ackd("workers = 1;")
    mark = daemon.mark()
    assert reload_with(daemon, "workers = 2;")
    daemon.wait_for("workers has changed: the change needs a restart", after=mark)
    assert daemon.exchange(b"x") == b"Got x"


def test_mode_of_a_unix_socket_can_change(ackd, directory):
    daemon = ackd(f'path = "{directory}/s"; mode = "0600";')
    assert reload_with(daemon, f'path = "{directory}/s"; mode = "0666";')
    assert os.stat(f"{directory}/s").st_mode & 0o777 == 0o666
    assert daemon.exchange(b"x") == b"Got x"


def test_sighup_during_the_start_is_not_lost(ackd):
    """The configuration at the time of the signal is in effect in the end."""
    for delay in range(8):
        listeners = 'listeners = ( { name = "a"; }, { name = "b"; } );'
        daemon = ackd('greeting = "old"; ' + listeners, ready=False)
        time.sleep(delay / 500)
        daemon.write_config('greeting = "new"; ' + listeners)
        daemon.signal(signal.SIGHUP)
        if daemon.process.poll() is None:
            try:
                daemon.wait_for(daemon.READY)
            except TimeoutError:
                assert daemon.wait() == -signal.SIGHUP  # the handler was not set yet
                continue
            wait_until(lambda: daemon.exchange(b"", "a") == b"new", "the new configuration")
        daemon.kill()


def n_descriptors(daemon):
    """Returns the number of descriptors, without the spare one that libuv opens per worker."""
    return sum(what != "/dev/null" for what in daemon.descriptors())


def test_many_reloads_under_load(ackd, capsys):
    """Continuous SIGHUPs cause no failed connect, no dropped connection, and no growth.

    AddressSanitizer keeps up to 256 MiB of freed memory by default, which is no leak.
    """
    n = 200 if sanitizer() else 1000
    networks = ", ".join(f'"10.{i // 256}.{i % 256}.0/24"' for i in range(5000))  # makes a leak visible
    daemon = ackd(f"workers = 2; deny = [{networks}];", env={
        "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"})
    address = daemon.address()
    stop = threading.Event()
    wrong = []
    counts = {"connects": 0, "rounds": 0}

    def connector():
        while not stop.is_set():
            try:
                with address.connect() as s:
                    s.sendall("да".encode())
                    s.shutdown(socket.SHUT_WR)
                    if read_to_end(s) != "Got да".encode():
                        wrong.append("answer")
                counts["connects"] += 1
            except OSError as e:
                wrong.append(repr(e))

    def keeper(s):
        try:
            while not stop.is_set():
                if ask(s, b"still") != b"Got still":
                    wrong.append("kept answer")
                counts["rounds"] += 1
                time.sleep(0.001)
        except OSError as e:
            wrong.append(repr(e))

    for _ in range(20):
        assert daemon.reload()
    rss, n_open = daemon.rss_kib(), n_descriptors(daemon)
    kept = [daemon.connect() for _ in range(5)]
    threads = [threading.Thread(target=connector) for _ in range(2)]
    threads += [threading.Thread(target=keeper, args=(s,)) for s in kept]
    for thread in threads:
        thread.start()
    begin = time.monotonic()
    try:
        for i in range(n):
            daemon.signal(signal.SIGHUP)
            if i % 10 == 0:
                time.sleep(0.01)
        assert daemon.reload()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for s in kept:
        s.close()
    assert wrong == []
    done = daemon.log.count("reloaded the configuration")
    with capsys.disabled():
        print(
            f"\n{n} SIGHUPs, {done} reloads in {time.monotonic() - begin:.1f} s,"
            f" {counts['connects']} connects and {counts['rounds']} answers meanwhile"
        )
    wait_until(lambda: n_descriptors(daemon) <= n_open, "descriptors to be closed")
    assert daemon.rss_kib() - rss < (65536 if sanitizer() else 2048)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_during_reloads_end_the_daemon(ackd, number):
    for delay in range(6):
        daemon = ackd("limits = { drain_timeout = 60; };")
        with daemon.connect() as s:
            assert ask(s) == b"Got x"
            for _ in range(3):
                daemon.signal(signal.SIGHUP)
            time.sleep(delay / 2000)
            daemon.signal(number)
            assert read_to_end(s) == b""
        assert daemon.wait() == 0
