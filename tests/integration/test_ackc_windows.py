"""Differences of ackc on Windows; collected only with $ACKD_ACKC. The other tests of ackc run there, too."""

import json
import signal
import subprocess

import pytest

import ackc_peers
from ackc_peers import Running, ackc, ackc_command, echo
from harness import SOON, environment, spawn, within

peer = ackc_peers.peer
COMMANDS = {"send": ("x",), "ping": (), "load": ()}


@pytest.mark.parametrize("command", COMMANDS)
def test_unix_sockets_are_refused(command):
    done = ackc(command, "unix:/run/ackd", *COMMANDS[command])
    assert (done.status, done.out) == (64, "")
    assert done.err.startswith("ackc: unix:/run/ackd: UNIX sockets are not supported on this system\n")


def test_many_connections_are_held(ackd, record_property):
    daemon = ackd("limits: { max_connections = 1000; };")
    done = ackc("load", "--json", "-c", "700", "-n", "2100", "-w", within(30), *daemon.address().sockaddr[:2],
                timeout=4 * SOON)
    summary = json.loads(done.out)
    assert done.status == 0, done
    assert (summary["opened"], summary["completed"], summary["errors"]) == (700, 2100, [])
    record_property("messages per second", int(summary["messages_per_second"]))


def test_any_character_is_sent(peer):
    text = "a\"b\\ *?.c 'é€Ж日😀"
    done = ackc("127.0.0.1", peer(echo).port, text, "")
    assert (done.status, done.out, done.err) == (0, text + "\n\n", "")


@pytest.mark.parametrize("name", ["plain.txt", "naïve Ж 日.txt"])
def test_file_is_sent_unchanged(peer, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"one\r\ntwo\n\x1athree\r\n\xff\n" * 100)
    done = ackc("load", "--json", "--lines", "--file", path, "-n", "400", "-c", "2", "127.0.0.1",
                peer(echo).port)
    assert (done.status, json.loads(done.out)["completed"]) == (0, 400), done
    with path.open("rb") as file:
        done = subprocess.run([*ackc_command(), "127.0.0.1", str(peer(echo).port)], stdin=file,
                              capture_output=True, timeout=SOON, check=False, env=environment())
    assert (done.returncode, done.stdout) == (0, path.read_bytes())


def test_interrupt_prints_the_statistics_of_ping(peer):
    with spawn([*ackc_command(), "ping", "-i", "0.1", "127.0.0.1", str(peer(echo).port)],
               stdout=subprocess.PIPE, env=environment()) as run:
        for _ in range(3):
            assert run.stdout.readline()
        run.send_signal(signal.SIGINT)
        out = run.stdout.read().decode()
        assert " 0% loss" in out
        assert run.wait(SOON) == 0


def test_interrupt_ends_send(peer):
    server = peer(echo)
    run = Running("127.0.0.1", server.port, stdin=subprocess.PIPE)
    server.wait_for_connection()
    run.process.stdin.write(b"hello\n")
    run.process.stdin.flush()
    assert run.process.stdout.read(6) == b"hello\n"
    done = run.end(signal.SIGINT)
    assert (done.status, done.out) == (1, ""), done
    assert done.err.endswith(": interrupted: 6 bytes sent, 6 received\n")


def test_missing_reader_ends_ackc(peer):
    with spawn([*ackc_command(), "ping", "-i", "0.01", "127.0.0.1", str(peer(echo).port)],
               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as run:
        run.stdout.readline()
        run.stdout.close()
        assert run.wait(SOON) == 1
        assert run.stderr.read().startswith(b"ackc: standard output: ")
