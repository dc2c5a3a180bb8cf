"""The command line and the exit statuses."""

import os
import re
import resource
import signal
import subprocess

import pytest

from harness import (
    SOON,
    Address,
    ackd_binary,
    environment,
    read_to_end,
    run_ackd,
    wait_until,
)

OPTIONS = [
    ("-c", "--config"),
    ("-p", "--port"),
    (None, "--set"),
    ("-t", "--check-config"),
    ("-T", "--dump-config"),
    (None, "--reload"),
    ("-h", "--help"),
    ("-V", "--version"),
]


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_is_printed(option):
    done = run_ackd(option)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"ackd \d+\.\d+", done.stdout)
    for part in ("libuv", "libconfig", "libsystemd", "kernel"):
        assert re.search(rf"{part}\W+\w", done.stdout), done.stdout


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_printed(option):
    done = run_ackd(option)
    assert (done.returncode, done.stderr) == (0, "")
    for short, long in OPTIONS:
        assert (f"{short}, {long}" if short else f"  {long}") in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["-x"], "unknown option '-x'"),
        (["-:"], "unknown option '-:'"),
        (["-é"], r"unknown option '-\xc3'"),
        (["--colour"], "unknown option '--colour'\n"),
        (["--prot=5"], "unknown option '--prot=5'; did you mean '--port'?"),
        (["-c"], "-c"),
        (["--config"], "--config"),
        (["-p"], "-p"),
        (["-p", "70000"], "70000"),
        (["-p", "-1"], "-1"),
        (["-p", "http"], "http"),
        (["-p", "1x"], "1x"),
        (["-p", ""], '""'),
        (["-p", " 1"], " 1"),
        (["-p", "99999999999999999999"], "99999999999999999999"),
        (["-c", ""], "-c"),
        (["--config="], "-c"),
        (["-xt"], "'-x'"),
        (["-tx"], "'-x'"),
        (["-t", "-xT"], "'-x'"),
        (["--check-config=x"], "option '--check-config=x' takes no value"),
        (["--set"], "option '--set' needs a value"),
        (["--set", "port"], "option '--set' needs NAME=VALUE, such as log.level=debug; found 'port'"),
        (["--set="], "'--set' needs NAME=VALUE"),
        (["--set", "=1"], "found '=1'"),
        (["--reload="], "option '--reload=' takes no value"),
        (["start"], "start"),
        (["-t", "extra"], "extra"),
    ],
)
def test_usage_error_exits_with_64(arguments, named):
    done = run_ackd(*arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert named in done.stderr
    assert done.stderr.startswith("ackd: ") and "--help" in done.stderr


@pytest.mark.parametrize(
    "other, named",
    [
        (["-p", "1"], "-p"),
        (["--port=1"], "-p"),
        (["--set", "port=1"], "--set"),
        (["-t"], "-t"),
        (["-T"], "-T"),
    ],
)
def test_invalid_options_with_reload_are_rejected(config_file, other, named):
    """The command does nothing, neither a reload nor the other action."""
    path = config_file("port = 1;")
    for arguments in (["--reload", *other], [*other, "--reload"]):
        done = run_ackd("-c", path, *arguments, env=environment({"MAINPID": "1"}))
        assert (done.returncode, done.stdout) == (64, "")
        assert f"options '--reload' and '{named}' cannot be combined" in done.stderr


def test_check_and_dump_can_be_combined(config_file):
    path = config_file("port = 1;")
    dumped = run_ackd("-T", "-c", path).stdout
    for options in (["-t", "-T"], ["-T", "-t"], ["-Tt"]):
        done = run_ackd(*options, "-c", path)
        assert (done.returncode, done.stdout, done.stderr) == (0, dumped, "")


@pytest.mark.parametrize("options", [["-t"], ["--check-config"]])
def test_check_reports_errors(config_file, options):
    done = run_ackd(*options, "-c", config_file("port = 1;"))
    assert (done.returncode, done.stderr) == (0, "")
    done = run_ackd(*options, "--config", config_file("port = x;"))
    assert done.returncode == 78 and done.stderr


def test_output_that_cannot_be_written_is_an_error(config_file):
    """A full disk must not end in success."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    path = config_file("port = 1;")
    for arguments in (["-T", "-c", path], ["-t", "-c", path], ["-V"], ["-h"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [str(ackd_binary()), *arguments],
                stdout=full,
                stderr=subprocess.PIPE,
                env=environment(),
                timeout=30,
                check=False,
            )
        assert done.returncode == 71, arguments
        assert done.stderr == b"ackd: cannot write the output: No space left on device\n"


def test_daemon_does_not_fork(ackd):
    daemon = ackd()
    children = subprocess.run(
        ["ps", "--ppid", str(daemon.pid), "-o", "pid="], capture_output=True, text=True, check=False
    )
    if children.returncode not in (0, 1):
        pytest.skip("no ps")
    assert children.stdout.strip() == ""
    assert daemon.process.poll() is None


@pytest.mark.parametrize("closed", [(0, 1, 2), (2,), (1, 2), (0,)])
def test_closed_standard_descriptors_are_not_reused(config_file, directory, closed):
    """Log lines do not go to a socket or pipe that reuses their numbers."""

    def close():
        for fd in closed:
            os.close(fd)

    address = Address(f"unix:{directory}/s")
    path = config_file(
        f'path = "{address.path}"; log = {{ level = "debug"; target = "stderr"; }};'
    )
    with open(os.devnull, "r+") as null, subprocess.Popen(
        [str(ackd_binary()), "-c", path],
        stdin=null,
        stdout=null,
        stderr=null,
        env=environment(),
        preexec_fn=close,
    ) as process:
        try:
            wait_until(lambda: os.path.exists(address.path), "the socket")
            for fd in range(3):
                assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == os.devnull
            for _ in range(5):
                with wait_until(lambda: address.connect_if_listening(), "a connection") as s:
                    s.sendall(b"\xff")
                    assert read_to_end(s) == b"NAK 0 invalid start byte\n"
            process.terminate()
            assert process.wait(SOON) == 0
        finally:
            process.kill()




def test_exit_statuses(ackd, config_file):
    daemon = ackd()
    port = daemon.address().port
    assert run_ackd("-c", config_file(f"port = {port};")).returncode == 69
    assert run_ackd("-c", config_file("port = -1;")).returncode == 78
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


def test_too_few_descriptors_exit_with_71(config_file):
    """A system error exits with 71 and a message."""

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))

    path = config_file("port = 0; workers = 8;")
    done = run_ackd("-c", path, preexec_fn=few)
    assert done.returncode in (69, 71)
    assert "too many open files" in done.stderr.lower()


def test_port_option_is_validated_like_the_setting(config_file):
    assert run_ackd("-t", "-p", "65535", "-c", config_file("")).returncode == 0
    assert run_ackd("-t", "-p", "0", "-c", config_file("")).returncode == 0


def test_reload_command_outside_a_unit_is_an_error():
    env = environment()
    env.pop("MAINPID", None)
    done = run_ackd("--reload", env=env)
    assert done.returncode not in (0,)
    assert "MAINPID" in done.stderr
