"""Network failures of ackc: a message with the address, exit status 1; interrupts end it cleanly."""

import json
import re
import os
import resource
import signal
import socket
import sys
import threading
import time

import pytest

import ackc_peers
from ackc_peers import Peer, Running, ackc, can_unshare, deaf_port, echo, lines_of, silent
from harness import SOON, free_port, is_static, sanitizer, within

peer = ackc_peers.peer

ALL = (("send",), ("ping", "-c", "1"), ("load", "-n", "1"))


def check(done, words, status=1):
    """Checks that there is exactly one line per failure."""
    assert done.status == status, done
    assert set(done.err.splitlines()) == {f"ackc: {words}"}, done


def check_all(words, *target, options=(), **more):
    for command in ALL:
        check(ackc(*command, *options, *target, **more), words)


def test_connection_refused_is_reported():
    port = free_port()
    check_all(f"127.0.0.1:{port}: connection refused", "127.0.0.1", port)
    check_all(f"localhost:{port}: connection refused", "localhost", port)


def test_connection_refused_over_ipv6_is_reported():
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("no IPv6 here")
    try:
        port = free_port("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    check_all(f"[::1]:{port}: connection refused", "::1", port)


def test_unknown_host_is_reported(directory):
    if not can_unshare("--mount"):
        pytest.skip("no mount namespaces here")
    if is_static():
        pytest.skip("musl asks a name server always")
    with open(f"{directory}/nsswitch.conf", "w", encoding="ascii") as f:
        f.write("hosts: files\n")  # independent of any name server
    check_all("nosuch.invalid:10080: no such host", "nosuch.invalid",
              wrapper=("unshare", "--mount", "sh", "-c", f'mount --bind "{directory}/nsswitch.conf" '
                       '/etc/nsswitch.conf && exec "$@"', "sh"))


def without_network():
    if not can_unshare("--net"):
        pytest.skip("no network namespaces here")
    return ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")


def test_host_without_address_of_the_family_is_reported():
    for option, host in (("-6", "127.0.0.1"), ("-4", "::1")):
        done = ackc(option, host, "1", "x")
        assert done.status == 1
        assert done.err.startswith("ackc: ")
        assert "no address of that family" in done.err or "no such host" in done.err


def test_unreachable_network_is_reported():
    """The test runs in a namespace without a route."""
    check_all("192.0.2.1:7: network unreachable", "192.0.2.1", "7", wrapper=without_network())


def test_missing_unix_socket_is_reported(directory):
    path = f"unix:{directory}/nosuch"
    check_all(f"{path}: no such file or directory", path)


def test_stale_unix_socket_is_reported(directory):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(f"{directory}/s")
    check_all(f"unix:{directory}/s: connection refused", f"unix:{directory}/s")


def test_connect_times_out():
    with deaf_port() as port:
        for command in ALL:
            began = time.monotonic()
            check(ackc(*command, "-w", "0.4", "127.0.0.1", port),
                  f"127.0.0.1:{port}: timed out connecting")
            assert time.monotonic() - began >= 0.4


def hosts(text):
    """A wrapper that replaces /etc/hosts for the command."""
    if not can_unshare("--mount"):
        pytest.skip("no mount namespaces here")
    return ("unshare", "--mount", "sh", "-c",
            f'mount --bind "{text}" /etc/hosts && exec "$@"', "sh")


def test_next_address_is_tried_after_250_ms(directory, peer):
    """RFC 8305: the next attempt starts after 250 ms."""
    with deaf_port() as port:
        server = peer(echo, address="127.0.0.2", port=port)
        with open(f"{directory}/hosts", "w", encoding="ascii") as f:
            f.write("127.0.0.1 twofold\n127.0.0.2 twofold\n")
        began = time.monotonic()
        done = ackc("-4", "twofold", port, "x", wrapper=hosts(f"{directory}/hosts"))
        assert (done.status, done.out) == (0, "x\n"), done
        assert server.accepted == 1
        assert time.monotonic() - began >= 0.25


def test_next_address_is_tried_immediately_after_a_refusal(directory, peer):
    server = peer(echo, address="127.0.0.2")
    with open(f"{directory}/hosts", "w", encoding="ascii") as f:
        f.write("127.0.0.1 twofold\n127.0.0.2 twofold\n")
    for command, texts in zip(ALL, (("x",), (), ())):
        done = ackc(*command, "--json", "-4", "twofold", server.port, *texts,
                    wrapper=hosts(f"{directory}/hosts"))
        summary = json.loads(done.out.splitlines()[-1])
        assert summary["address"] == f"127.0.0.2:{server.port}"
        assert summary["status"] == 0


def silent_name_server(directory):
    """A wrapper whose name server never answers."""
    if not can_unshare("--net", "--mount"):
        pytest.skip("no namespaces here")
    with open(f"{directory}/resolv.conf", "w", encoding="ascii") as f:
        f.write("nameserver 127.0.0.1\noptions timeout:30 attempts:3\n")
    with open(f"{directory}/nsswitch.conf", "w", encoding="ascii") as f:
        f.write("hosts: dns\n")
    program = ("import socket, subprocess, sys; s = socket.socket(type=socket.SOCK_DGRAM); "
               "s.bind(('127.0.0.1', 53)); sys.exit(subprocess.call(sys.argv[1:]))")
    return ("unshare", "--net", "--mount", "sh", "-c",
            f'ip link set lo up && mount --bind "{directory}/resolv.conf" /etc/resolv.conf && '
            f'mount --bind "{directory}/nsswitch.conf" /etc/nsswitch.conf && '
            f'exec {sys.executable} -c "{program}" "$@"', "sh")


def test_timeout_covers_the_look_up(directory):
    wrapper = silent_name_server(directory)
    for command in ALL:
        began = time.monotonic()
        check(ackc(*command, "-w", "0.4", "slow.example", wrapper=wrapper),
              "slow.example:10080: timed out looking up the name")
        # The exit does not wait for the resolver's thread.
        assert time.monotonic() - began < 25


def test_plugin_deadline_covers_the_look_up(directory):
    began = time.monotonic()
    done = ackc("ping", "--plugin", "-t", "0.5", "slow.example", wrapper=silent_name_server(directory))
    assert (done.status, done.err) == (2, ""), done
    assert done.out == ("ACKC CRITICAL - slow.example:10080: no probe sent, timed out looking up the "
                        "name, not finished after 0.5 s | pl=100%;0;100;0;100\n")
    assert time.monotonic() - began < 25


def test_reset_is_reported(peer):
    server = peer(ackc_peers.each_line(lambda s, line: ackc_peers.reset(s)))
    for command in ALL:
        texts = ("x",) if command == ("send",) else ()
        check(ackc(*command, "127.0.0.1", server.port, *texts),
              f"127.0.0.1:{server.port}: connection reset")


def test_premature_close_is_reported(peer):
    server = peer(ackc_peers.each_line(lambda s, line: False))
    for command in ALL[1:]:
        check(ackc(*command, "127.0.0.1", server.port),
              f"127.0.0.1:{server.port}: connection closed early")


OWN_LIMIT = "too many open files in this process (see ulimit -n)"


@pytest.mark.parametrize("arguments", [("-n", "1000"), ("-d", "0.5"), ("-d", "0.5", "-r", "1000"),
                                       ("-n", "1000", "-t", "4")], ids=" ".join)
def test_too_many_open_files_is_reported(peer, arguments):
    """The local failure is named and counted once per connection; the header has the true count."""
    server = peer(echo)

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))

    def run(*options):
        return ackc("load", *arguments, "-c", "100", *options, "127.0.0.1", server.port,
                    preexec_fn=limit)

    done = run("--json")
    summary = json.loads(done.out)
    assert done.status == 1
    assert summary["errors"] == [{"kind": OWN_LIMIT, "wrong": False, "first": "ackc may open 60 files",
                                  "count": 100 - summary["opened"]}]
    assert 0 < summary["opened"] == summary["connected"] < 60
    assert summary["completed"] == summary["sent"] > 0
    if "-r" in arguments:
        assert summary["sent"] + summary["unsent"] == 500
        assert summary["unsent"] >= 5 * (100 - summary["opened"])
    elif "-n" in arguments:
        assert summary["sent"] == 10 * summary["opened"] == 1000 - summary["unsent"]
    assert f"ackc: 127.0.0.1:{server.port}: {OWN_LIMIT} (" in done.err
    assert "first: ackc may open 60 files\n" in done.err
    assert re.search(r"^\d\d of 100 connections, depth 1, ", run().out, re.M)


@pytest.mark.parametrize("limit", range(3, 16))
def test_any_descriptor_limit_is_survived(limit):
    """A descriptor that cannot be opened is reported; ackc neither crashes nor hangs."""
    port = free_port()

    def set_limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    if limit < 8 and sanitizer():
        pytest.skip("the sanitizer itself needs descriptors")
    for command in ALL:
        done = ackc(*command, "127.0.0.1", port, preexec_fn=set_limit)
        assert done.status in (1, 127), done  # 127: not even its libraries
        if done.status == 1:
            assert done.err in (f"ackc: {OWN_LIMIT}\n",
                                f"ackc: 127.0.0.1:{port}: connection refused\n",
                                f"ackc: 127.0.0.1:{port}: {OWN_LIMIT}\n")


def local_ports(first, last):
    """A wrapper: a namespace with a range of local ports and an echo server on port 7007."""
    if not can_unshare("--net"):
        pytest.skip("no network namespaces here")
    return ("unshare", "--net", "sh", "-c", "ip link set lo up && "
            f"echo {first} {last} >/proc/sys/net/ipv4/ip_local_port_range && "
            "echo 0 >/proc/sys/net/ipv4/tcp_tw_reuse && "  # none becomes free after a second
            f'exec {sys.executable} {ackc_peers.__file__} 7007 "$@"', "sh")


def test_exhausted_local_ports_are_reported():
    holder = ("import socket, subprocess, sys; s = socket.create_connection(('127.0.0.1', 7007)); "
              "sys.exit(subprocess.call(sys.argv[1:]))")
    check_all("127.0.0.1:7007: no local port or address left", "127.0.0.1", "7007",
              wrapper=(*local_ports(50000, 50000), sys.executable, "-c", holder))


def test_load_uses_the_available_local_ports():
    done = ackc("load", "-n", "100", "-c", "20", "-w", within(1), "--json", "127.0.0.1", "7007",
                wrapper=local_ports(50000, 50007))
    summary = json.loads(done.out)
    assert done.status == 1, done
    assert [e["kind"] for e in summary["errors"]] == ["no local port or address left"]
    assert 0 < summary["connected"] <= 8
    assert "ackc: 127.0.0.1:7007: no local port or address left" in done.err


# ---- ^C, anywhere ----

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", INTERRUPTS)
def test_interrupt_while_looking_up_ends_ackc(directory, number):
    wrapper = silent_name_server(directory)
    for command in ALL:
        run = Running(*command, "-w", "60", "slow.example", wrapper=wrapper)
        pid = wait_for_ackc(run.process.pid)
        began = time.monotonic()
        os.kill(pid, number)
        done = run.end()
        assert time.monotonic() - began < 25
        assert done.status == 1, done
        assert "statistics" in done.out or "interrupted" in done.err


def wait_for_ackc(pid):
    """Waits until the wrapper runs ackc and ackc handles all interrupts; returns its process ID."""
    handled = sum(1 << (number - 1) for number in INTERRUPTS)

    def find():
        todo = [pid]
        while todo:
            p = todo.pop()
            try:
                with open(f"/proc/{p}/task/{p}/children", encoding="ascii") as f:
                    todo += [int(child) for child in f.read().split()]
                with open(f"/proc/{p}/status", encoding="ascii") as f:
                    status = dict(line.split(":", 1) for line in f if ":" in line)
            except OSError:
                continue
            caught = int(status.get("SigCgt", "0"), 16)
            if status["Name"].strip() == "ackc" and caught & handled == handled:
                return p
        return None

    return ackc_peers.wait_until(find, "ackc")


@pytest.mark.parametrize("number", INTERRUPTS)
def test_interrupt_while_connecting_ends_ackc(number):
    with deaf_port() as port:
        for command in ALL:
            run = Running(*command, "-w", "60", "127.0.0.1", port)
            os.kill(wait_for_ackc(run.process.pid), number)
            done = run.end()
            assert done.status == 1, done
            assert "statistics" in done.out or "interrupted" in done.err


@pytest.mark.parametrize("number", INTERRUPTS)
def test_interrupt_while_waiting_ends_ackc(peer, number):
    def handle(s):
        silent(s)
        threading.Event().wait(SOON)

    for command in ALL:
        server = peer(handle)
        run = Running(*command, "-w", "60", "127.0.0.1", server.port)
        server.wait_for_connection()
        done = run.end(number)
        assert done.status == 1, done
        assert "statistics" in done.out or "interrupted" in done.err


def test_interrupt_ends_successful_ping_with_0(peer):
    server = peer(echo)
    run = Running("ping", "-i", "0.01", "127.0.0.1", server.port)
    for _ in range(5):
        run.process.stdout.readline()
    done = run.end(signal.SIGINT)
    assert done.status == 0, done
    assert "0% loss" in done.out


def test_interrupted_ping_counts_old_probes_as_lost(peer):
    """A probe without a reply for a long time counts as lost, although its timeout is not over."""
    unanswered = threading.Event()
    server = peer(ackc_peers.each_line(lambda s, line: unanswered.set(), honest=3))
    run = Running("ping", "-i", "0", "-w", "60", "127.0.0.1", server.port)
    run.process.stdout.readline()
    assert b"seq=1 " in run.process.stdout.readline()
    assert unanswered.wait(SOON)
    threading.Event().wait(1.5)
    done = run.end(signal.SIGINT)
    assert "2 probes transmitted, 1 received, 50% loss" in done.out
    assert done.status == 1


def test_sigquit_prints_ping_statistics(peer):
    server = peer(echo)
    run = Running("ping", "-i", "0.01", "127.0.0.1", server.port)
    for _ in range(5):
        run.process.stdout.readline()
    run.process.send_signal(signal.SIGQUIT)
    line = run.process.stderr.readline()
    assert b" probes, 0% loss, min/avg/max = " in line
    assert run.end(signal.SIGINT).status == 0


def test_interrupt_ends_successful_load_with_0(peer):
    count = iter(range(1 << 60))
    enough = threading.Event()

    def handle(s):
        for line in lines_of(s):
            s.sendall(line)
            if next(count) == 200:
                enough.set()

    server = peer(handle)
    run = Running("load", "-d", "60", "--json", "127.0.0.1", server.port)
    assert enough.wait(SOON)
    done = run.end(signal.SIGINT)
    summary = json.loads(done.out)
    assert done.status == 0, done
    assert summary["interrupted"] is True
    assert summary["completed"] > 100
    assert summary["lost"] == 0
    assert summary["errors"] == []


def test_restarted_server_is_reconnected():
    """Ping continues, as ping(8) does, and load reconnects."""
    server = Peer(echo)
    port = server.port
    pings = Running("ping", "-i", "0.05", "127.0.0.1", port)
    load = Running("load", "-d", "600", "-c", "2", "--json", "127.0.0.1", port)
    try:
        pings.process.stdout.readline()
        pings.process.stdout.readline()
        server.wait_for_connection(5)  # the learners' two, and all that stay
    finally:
        server.close_all()
    said = []  # a probe may have been under way
    while f"ackc: 127.0.0.1:{port}: connection refused\n".encode() not in said:
        said.append(pings.process.stderr.readline())
        assert re.search(rb"refused|closed (early|by peer)|reset", said[-1]), said
    server = Peer(echo, port=port)
    ackc_peers.wait_until(lambda: b"seq=" in pings.process.stdout.readline(), "a reply")
    server.wait_for_connection(3)
    done = pings.end(signal.SIGINT)
    assert done.status == 1
    done = load.end(signal.SIGINT)
    server.close()
    summary = json.loads(done.out)
    assert done.status == 1, done
    assert summary["connected"] >= 4
    assert {e["kind"] for e in summary["errors"]} <= {
        "connection refused", "connection closed early", "connection reset"}


def test_learning_ends_with_endless_replies(peer):
    """During learning, only silence marks the end of a reply, so its length is bounded."""
    def handle(s):
        for line in lines_of(s):
            threading.Event().wait(0.1)  # so that a pause of 10 ms is no silence
            s.sendall(line)
            while True:
                s.sendall(b"z")
                threading.Event().wait(0.01)

    server = peer(handle)
    for command in ALL[1:]:
        began = time.monotonic()
        done = ackc(*command, "-w", within(0.5), "127.0.0.1", server.port)
        assert done.status == 2, done
        # The maximum of 16 KiB would take minutes.
        assert time.monotonic() - began < SOON / 2


def test_count_ends_with_a_server_that_closes_immediately(peer):
    """A count ends even if the server accepts and closes before its greeting."""
    first = []

    def handle(s):
        if not first:
            first.append(s)
            s.sendall(b"hello\n")
            echo(s)

    done = ackc("load", "--json", "-n", "5", "-c", "1", "-w", within(0.5), "127.0.0.1",
                peer(handle).port)
    summary = json.loads(done.out)
    assert done.status == 1, done
    assert (summary["sent"], summary["unsent"]) == (0, 5)
    assert {e["kind"] for e in summary["errors"]} <= {"connection closed early", "connection reset"}


def test_invalid_host_name_is_no_such_host():
    done = ackc(b"\xff", "1", "x")
    assert done.status == 1
    assert done.err.endswith(":1: no such host\n")
