"""ackc with third-party servers, and with all modes of ackd."""

import contextlib
import json
import os
import pwd
import shutil
import subprocess

import pytest

from ackc_peers import ackc
from harness import free_port, have, is_portable, spawn, wait_until, within

BYTES = os.urandom(500_000)


def check_measuring(*target):
    for command in (("ping", "-c", "3", "-i", "0"), ("load", "-n", "300", "-c", "3", "-p", "4")):
        done = ackc(*command, *target)
        assert done.status == 0, done


def check_echo(*target, data):
    done = ackc(*target, "hällo")
    assert (done.status, done.out) == (0, "hällo\n"), done
    done = ackc(*target, data=data)
    assert (done.status, done.raw) == (0, data)
    check_measuring(*target)


@contextlib.contextmanager
def serving(command, *target):
    process = spawn(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: ackc("-w", "1", *target, "x").status == 0, command[0])
        yield
    finally:
        process.terminate()
        process.wait()


# socat's PIPE is a pipe that it writes and reads in one thread. A pipe that poll() reports as writable
# has room for PIPE_BUF bytes only, and socat blocks forever if its block of 8192 does not fit. Blocks
# of PIPE_BUF avoid that. By default socat discards unsent data half a second after the client's end of
# input; -t lengthens that time.
SOCAT = ("socat", "-b", "4096", "-t", "30")


def test_socat_echo():
    if not have("socat"):
        pytest.skip("socat is not installed")
    port = free_port()
    with serving([*SOCAT, f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay", "PIPE"],
                 "127.0.0.1", port):
        check_echo("127.0.0.1", port, data=BYTES)


def test_socat_echo_on_a_unix_socket(directory):
    if not have("socat"):
        pytest.skip("socat is not installed")
    path = f"{directory}/s"
    with serving([*SOCAT, f"UNIX-LISTEN:{path},fork", "PIPE"], f"unix:{path}"):
        check_echo(f"unix:{path}", data=BYTES)


def test_ncat_echo():
    if not have("ncat"):
        pytest.skip("ncat is not installed")
    port = free_port()
    # ncat discards the output of cat after the client's end of input.
    with serving(["ncat", "-k", "-l", "127.0.0.1", str(port), "-e", shutil.which("cat")],
                 "127.0.0.1", port):
        check_measuring("127.0.0.1", port)


def test_xinetd_echo(directory):
    if not have("xinetd"):
        pytest.skip("xinetd is not installed")
    port = free_port()
    with open(f"{directory}/xinetd.conf", "w", encoding="ascii") as f:
        f.write(f"""
service echo
{{
    type = INTERNAL UNLISTED
    id = echo-stream
    socket_type = stream
    protocol = tcp
    user = {pwd.getpwuid(os.getuid()).pw_name}
    wait = no
    port = {port}
    bind = 127.0.0.1
    instances = UNLIMITED
    cps = 10000 1
}}
""")
    with serving(["xinetd", "-dontfork", "-f", f"{directory}/xinetd.conf", "-pidfile",
                  f"{directory}/pid"], "127.0.0.1", port):
        check_echo("127.0.0.1", port, data=BYTES)


# ---- ackd ----


def port_of(daemon):
    return daemon.address().port


MODES = {
    "default": "",
    "echo": 'reply = "echo";',
    "line": 'framing = "line";',
    "line echo": 'framing = "line"; reply = "echo";',
    "greeting": 'greeting = "ackd on ${host}, connection ${connection} of ${peer}\\n";',
    "affixes": 'ack_prefix = "<"; ack_suffix = ">";',
    "line affixes": 'framing = "line"; ack_prefix = "<"; ack_suffix = " ok";',
    "numbers": 'framing = "line"; ack_prefix = "${message} ${bytes} "; greeting = "hello\\n";',
    "of the connection": 'ack_prefix = "${peer} ${connection}: ";',
    "lines of the connection": 'framing = "line"; greeting = "${connection}\\n"; '
                               'ack_prefix = "${connection}"; ack_suffix = " ${message} ${peer}";',
    "no prefix": 'ack_prefix = ""; ack_suffix = "$$";',
    "cp1252": 'encoding = { reply_charset = "windows-1252"; };',
}


@pytest.mark.parametrize("mode", MODES)
def test_ackd_replies_are_verified(ackd, mode):
    daemon = ackd(MODES[mode])
    port = port_of(daemon)
    for command in (("ping", "-c", "3", "-i", "0"), ("ping", "-c", "3", "-i", "0", "--new-connection"),
                    ("load", "-n", "500", "-c", "3"), ("load", "-n", "500", "-c", "3", "-p", "16"),
                    ("load", "-n", "30", "-c", "2", "-s", "60000"),
                    ("load", "-n", "100", "--rate", "1000", "-t", "2")):
        done = ackc(*command, daemon.address().sockaddr[0], port)
        assert done.status == 0, done


def test_ackd_with_numbers_in_a_stream(ackd):
    port = port_of(ackd('ack_prefix = "${message}: ";'))
    assert ackc("ping", "-c", "12", "-i", "0", "localhost", port).status == 0
    assert ackc("load", "-n", "300", "localhost", port).status == 0
    done = ackc("load", "-n", "300", "-p", "2", "localhost", port)
    assert done.status == 2
    assert "use --depth 1" in done.err


def test_ackd_acknowledges(ackd):
    done = ackc("localhost", port_of(ackd()), "good morning")
    assert (done.status, done.out, done.err) == (0, "Got good morning\n", "")


def test_ackd_naks_are_reported(ackd):
    port = port_of(ackd())
    done = ackc("localhost", port, data=b"ab\xffcd")
    assert (done.status, done.out) == (2, "Got ab\nNAK 2 invalid start byte\n")
    assert done.err == f"ackc: localhost:{port}: NAK 2 invalid start byte\n"


def test_ackd_continues_after_the_nak_of_a_line(ackd):
    port = port_of(ackd('framing = "line";'))
    done = ackc("--json", "localhost", port, data=b"ab\xff\nok\n\xe2\x82\n")
    summary = json.loads(done.out.splitlines()[-1])
    assert (done.status, summary["naks"]) == (2, 2)


def test_nak_during_a_large_send_is_received(ackd):
    """ackd closes while ackc still writes; the reset must not discard the NAK."""
    port = port_of(ackd())
    for _ in range(5):
        done = ackc("localhost", port, data=b"a\xff" + b"x" * 8_000_000)
        assert done.status == 2, done
        assert "NAK 1 invalid start byte" in done.out


def test_full_ackd_is_reported(ackd):
    daemon = ackd("limits = { max_connections = 1; };")
    with daemon.connect():
        wait_until(lambda: ackc("localhost", port_of(daemon), "x").status == 2, "the limit")
        for command in (("ping", "-c", "1"), ("load", "-n", "1")):
            done = ackc(*command, "localhost", port_of(daemon))
            assert done.status == 2, done
            assert "NAK 0 too many connections" in done.err or "NAK" in done.err


def test_discarding_ackd_needs_no_reply(ackd):
    port = port_of(ackd('reply = "discard";'))
    done = ackc("localhost", port, "x")
    assert (done.status, "no reply: the server closed" in done.err) == (1, True)
    done = ackc("ping", "-c", "1", "-w", within(0.5), "localhost", port)
    assert done.status == 1
    assert "timed out waiting for a reply" in done.err


def test_stopped_ackd_is_reported(ackd):
    daemon = ackd()
    port = port_of(daemon)
    daemon.stop()
    done = ackc("ping", "-c", "1", "localhost", port)
    assert (done.status, done.err) == (1, f"ackc: localhost:{port}: connection refused\n")


@pytest.mark.parametrize("path", ["{}/s", pytest.param("@{}", marks=pytest.mark.skipif(
    is_portable(), reason="the portable files know no abstract names"))])
def test_ackd_on_a_unix_socket(ackd, directory, path):
    path = path.format(directory)
    ackd(f'path = "{path}"; reply = "echo";')
    check_echo(f"unix:{path}", data="Übermut\n".encode() * 50_000)


def test_ackd_with_real_text(ackd, directory):
    """The text is sent in lines for line framing, and in pieces for stream framing."""
    with open(f"{directory}/text", "w", encoding="utf-8") as f:
        f.write("Über allen Gipfeln\nIst Ruh,\n\nІ мертвим, і живим\n天地玄黃 宇宙洪荒\n🙂🙃\n" * 20)
    for config in ('framing = "line";', "", 'reply = "echo";', 'framing = "line"; ack_suffix = ";";'):
        port = port_of(ackd(config))
        for depth in (1, 8):
            done = ackc("load", "-n", "500", "-c", "3", "-p", depth, "-s", "200", "--file",
                        f"{directory}/text", "localhost", port)
            assert done.status == 0, done
