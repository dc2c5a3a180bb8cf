"""--set: settings on the command line, over the file and over none, through reloads and restarts."""

import os

import pytest

from harness import run_ackd

LISTED = """reply = "discard";
listeners = ( { name = "web"; port = 0; }, { name = "echo"; port = 0; reply = "echo"; } );
"""


@pytest.mark.parametrize("arguments", [["--set", "port=0"], ["--set=port=0"]])
def test_no_file_is_needed(ackd, arguments):
    if os.path.exists("/etc/ackd.conf"):
        pytest.skip("/etc/ackd.conf exists")
    daemon = ackd(arguments=[*arguments, "-t", "--set", "reply=echo"], start=False)
    assert run_ackd(*daemon.arguments).stdout == "built-in defaults: no errors\n"
    assert 'reply = "echo";' in run_ackd("-T", *daemon.arguments).stdout


def test_settings_take_precedence_over_the_file(ackd):
    daemon = ackd(LISTED, arguments=["--set", "reply=ack", "--set", "listeners.echo.ack_prefix=<"])
    assert daemon.exchange(b"x", "web") == b"Got x"
    assert daemon.exchange(b"x", "echo") == b"<x"


def test_settings_stay_in_force_over_reloads(ackd):
    daemon = ackd('reply = "echo";', arguments=["--set", "port=0", "--set", "ack_suffix=!"])
    assert daemon.exchange(b"x") == b"x"
    daemon.write_config('ack_suffix = "?"; port = 7;')
    assert daemon.reload()
    assert daemon.exchange(b"x") == b"Got x!"
    daemon.write_config('framing = "fixed"; frame = { size = 1; };')
    assert daemon.reload()
    assert daemon.exchange(b"x") == b"Got x!"


def test_settings_can_become_invalid_by_a_reload(ackd):
    """The file decides which listeners there are; the error names the option."""
    daemon = ackd(LISTED, arguments=["--set", "listeners.echo.ack_prefix=<"])
    mark = daemon.mark()
    daemon.write_config('listeners = ( { name = "web"; port = 0; } );')
    assert not daemon.reload()
    daemon.wait_for(r"--set listeners\.echo\.ack_prefix: no such listener", after=mark)
    assert daemon.exchange(b"x", "echo") == b"x"


def test_settings_stay_in_force_over_restarts(unit):
    first = unit.start('reply = "echo";', arguments=["--set", "port=0", "--set", "ack_prefix=<"])
    with first.connect() as s:
        s.sendall(b"x")
        assert s.recv(10) == b"x"
        first.write_config("port = 7;")
        second = unit.again(first)
        s.sendall(b"y")
        assert s.recv(10) == b"<y"
        assert second.exchange(b"z") == b"<z"


@pytest.mark.parametrize("option", ["-t", "-T", None])
def test_errors_name_the_option(config_file, option):
    path = config_file("workers = -1;\n")
    arguments = ["-c", path, "--set", "prot=1", "--set", "port=70000"]
    done = run_ackd(*arguments, *([option] if option else []))
    assert (done.returncode, done.stdout) == (78, "")
    lines = done.stderr.splitlines()
    assert any("workers: found -1" in line for line in lines)
    assert any(line.endswith("--set prot: no such setting; did you mean port?") for line in lines)
    assert any(
        line.endswith("--set port: found 70000; allowed: an integer from 0 to 65535")
        for line in lines
    )
