"""All output escapes characters that control a terminal or make text resemble other text."""

import json
import os
import socket

import pytest

import ackc_peers
from ackc_peers import ackc, on_terminal, silent
from harness import Daemon, run_ackd

peer = ackc_peers.peer

BIDIRECTIONAL = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
CONTROLS = "".join(map(chr, (*range(0x01, 0x20), *range(0x7f, 0xa0))))
DANGEROUS = CONTROLS + BIDIRECTIONAL
# Without LF, which ends a line, and short enough for a path.
IN_A_NAME = "\x1b\x7f\x85\x9b" + BIDIRECTIONAL


def assert_harmless(text, allowed="\n"):
    if isinstance(text, bytes):
        text = text.decode()
    assert not set(text) & (set(DANGEROUS) - set(allowed)), ascii(text)


def sends(text):
    def handle(s):
        s.sendall(text.encode())
        silent(s)

    return handle


def test_json_of_send_is_escaped(peer):
    done = ackc("--json", "127.0.0.1", peer(sends("é" + DANGEROUS + "€")).port, "x")
    assert_harmless(done.raw)
    texts = [json.loads(line).get("text", "") for line in done.out.splitlines()]
    assert "".join(texts) == "é" + DANGEROUS + "€"


def test_json_of_a_greeting_is_escaped(peer):
    def handle(s):
        s.sendall((DANGEROUS.replace("\n", "") + "\n").encode())
        ackc_peers.echo(s)

    done = ackc("ping", "-c", "1", "--json", "127.0.0.1", peer(handle).port)
    assert_harmless(done.raw)
    greeting = json.loads(done.out.splitlines()[0])
    assert greeting["text"] == DANGEROUS.replace("\n", "") + "\n"


def test_terminal_output_is_escaped(peer):
    for command in (("send",), ("ping", "-c", "1", "-w", "1", "-W", "0.1")):
        _, shown = on_terminal(*command, "127.0.0.1", peer(sends(DANGEROUS + "\n")).port,
                               *(("x",) if command == ("send",) else ()))
        assert_harmless(shown, "\n\r\t")


@pytest.mark.parametrize("arguments", [
    ("send", "h", IN_A_NAME), ("send", f"--{IN_A_NAME}", "h"), ("ping", "-w", IN_A_NAME, "h"),
    ("ping", f"{IN_A_NAME}:1"), ("send", "unix:/nowhere/" + IN_A_NAME, "x"),
    ("--json", "unix:/nowhere/" + IN_A_NAME, "x"), ("ping", "--plugin", "unix:/" + IN_A_NAME),
    ("load", "--json", "-n", "1", "unix:/" + IN_A_NAME),
    ("load", "-n", "1", "--file", "/nowhere/" + IN_A_NAME, "127.0.0.1:1"),
], ids=range(9))
def test_arguments_are_escaped_in_errors_of_ackc(arguments):
    done = ackc(*arguments)
    assert done.status != 0
    assert_harmless(done.out + done.err)


@pytest.mark.parametrize("arguments", [
    (f"--{IN_A_NAME}",), ("-p", IN_A_NAME), ("-t", "-c", "/nowhere/" + IN_A_NAME), (IN_A_NAME,),
], ids=range(4))
def test_arguments_are_escaped_in_errors_of_ackd(arguments):
    done = run_ackd(*arguments)
    assert done.returncode != 0
    assert_harmless(done.stdout + done.stderr)


def test_configuration_errors_are_escaped(directory):
    path = f"{directory}/{IN_A_NAME}.conf"
    for text in (f'name = "{IN_A_NAME}";', f'reply = "{IN_A_NAME}";', f'framing = "\\x{IN_A_NAME}";',
                 f"port = {IN_A_NAME};", "port = 1; port = 2;", "port = 1;"):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        done = run_ackd("-t", "-c", path)
        assert (done.returncode == 0) == (text == "port = 1;")
        assert_harmless(done.stdout + done.stderr)


def test_dumped_configuration_is_escaped(config_file):
    """The dump escapes the characters and has the same values."""
    text = IN_A_NAME + "\t\n\r \"\\ é€"
    quoted = "".join(f"\\x{b:02x}" for b in text.encode())
    done = run_ackd("-T", "-c", config_file(f'address = "127.0.0.1"; greeting = "{quoted}";'))
    assert (done.returncode, done.stderr) == (0, "")
    assert_harmless(done.stdout.replace("\t", ""))
    assert "é€" in done.stdout
    again = run_ackd("-T", "-c", config_file(done.stdout))
    assert again.stdout == done.stdout


def test_log_of_the_daemon_is_escaped(directory):
    path = os.path.join(directory, IN_A_NAME.lstrip("\x1b\x7f"))  # these two are rejected
    daemon = Daemon(directory, f'path = "{path}"; log = {{ level = "debug"; }};', arguments=())
    daemon.start()
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(b"x")
            assert s.recv(10)
        daemon.stop()
    finally:
        daemon.kill()
    assert "\\xe2\\x80\\xae" in daemon.log
    assert_harmless(daemon.log)
