"""ackc with unusable standard descriptors: closed, full, without a reader."""

import json
import os
import signal
import subprocess
import threading

import pytest

import ackc_peers
from ackc_peers import ackc, ackc_command, echo, silent
from harness import SOON, environment, free_port, spawn, within

peer = ackc_peers.peer

# Each command writes to the standard output and succeeds.
COMMANDS = {
    "send": (("send",), ("x",)),
    "ping": (("ping", "-c", "2", "-i", "0"), ()),
    "ping json": (("ping", "-c", "2", "-i", "0", "--json"), ()),
    "plugin": (("ping", "--plugin", "--count", "1"), ()),
    "load": (("load", "-n", "20"), ()),
    "load json": (("load", "-n", "20", "--json"), ()),
}


@pytest.fixture(params=COMMANDS)
def arguments(request, peer):
    command, texts = COMMANDS[request.param]
    return (*command, "127.0.0.1", str(peer(echo).port), *texts)


def unwritable(arguments):
    """Returns the exit status for output that cannot be written; for a plugin UNKNOWN."""
    return 3 if "--plugin" in arguments else 1


def run(redirection, *arguments):
    """Runs ackc with the redirections of a shell."""
    done = subprocess.run(["sh", "-c", f'exec "$@" {redirection}', "sh", *ackc_command(), *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=SOON, check=False,
                          env=environment())
    return ackc_peers.Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("redirection", ["<&-", "2>&-", "<&- 2>&-"])
def test_unneeded_descriptors_may_be_closed(arguments, redirection):
    done = run(redirection, *arguments)
    assert done.status == 0, done
    assert done.out


@pytest.mark.parametrize("redirection", [">&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_output_is_an_error(arguments, redirection):
    """Output must not go to a socket or pipe that reuses the descriptor."""
    done = run(redirection, *arguments)
    assert done.status == unwritable(arguments), done
    if "2>" not in redirection:
        assert "ackc: standard output: Bad file descriptor\n" in done.err


def test_closed_input_is_an_error(peer):
    port = str(peer(echo).port)
    done = run("<&-", "127.0.0.1", port)
    assert (done.status, done.out) == (1, ""), done
    assert done.err.startswith("ackc: standard input: ")
    done = run("<&-", "--json", "127.0.0.1", port)
    summary = json.loads(done.out)
    assert summary["error"].startswith("standard input: ")
    assert summary["status"] == done.status == 1


def test_full_output_is_an_error(arguments):
    done = run(">/dev/full", *arguments)
    assert done.status == unwritable(arguments), done
    assert done.err.count("standard output: No space left on device") == 1


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_full_output_of_help_is_an_error(option):
    done = run(">/dev/full", option)
    assert done.status == 1
    assert done.err == "ackc: standard output: No space left on device\n"


def test_ping_ends_with_its_reader(peer):
    """As in `ackc ping HOST | head -1`."""
    with spawn([*ackc_command(), "ping", "-i", "0.01", "127.0.0.1", str(peer(echo).port)],
               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(SOON) == -signal.SIGPIPE
        assert process.stderr.read() == b""


@pytest.mark.parametrize("arguments, status", [
    (("--plugin", "--count", "1", "127.0.0.1", None), 3), (("--plugin",), 3),
    (("--plugin", "--help"), 3), (("-c", "1", "127.0.0.1", None), -signal.SIGPIPE),
])
def test_missing_reader_ends_ackc(peer, arguments, status):
    """A plugin reports unwritable output instead."""
    port = str(peer(echo).port)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*ackc_command(), "ping", *(a or port for a in arguments)], stdout=write,
                          stderr=subprocess.PIPE, timeout=SOON, check=False, env=environment())
    os.close(write)
    assert done.returncode == status, done


def test_echoed_naks_do_not_count(peer):
    done = ackc("--json", "127.0.0.1", peer(silent).port, "NAK 1 x")
    assert json.loads(done.out)["naks"] == 0
    assert (done.status, "no reply" in done.err) == (1, True)


@pytest.mark.parametrize("command", [("send",), ("ping", "-c", "1"), ("load", "-n", "1")])
def test_json_reports_failures(peer, command):
    def summary(port):
        done = ackc(*command, "--json", "-w", within(0.5), "127.0.0.1", port,
                    *(("x",) if command == ("send",) else ()))
        assert done.status == 1
        return json.loads(done.out.splitlines()[-1])

    failed = summary(free_port())
    assert failed["connect_ms"] is None
    assert failed["address"] is None
    port = peer(lambda s: threading.Event().wait(SOON)).port
    assert summary(port)["address"] == f"127.0.0.1:{port}"


def test_count_of_one_is_singular(peer):
    port = peer(ackc_peers.echo).port
    shown = ackc("ping", "-c", "1", "127.0.0.1", port).out
    assert "\n1 probe transmitted, 1 received, 0% loss" in shown
    shown = ackc("load", "-c", "1", "-n", "1", "127.0.0.1", port).out
    assert "\n1 connection, depth 1, 1 thread\n1 message sent, 1 answered correctly" in shown
    shown = ackc("ping", "--plugin", "--count", "1", "127.0.0.1", port).out
    assert "1 of 1 probe answered" in shown
    done = ackc("--linger", "0", "127.0.0.1", peer(silent).port, data=b"x")
    assert "(1 byte sent)" in done.err
