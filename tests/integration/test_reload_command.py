"""ackd --reload: what a unit's ExecReload runs, and what it tells the service manager."""

import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import ackd_binary, environment, free_port, run_ackd


def reload(daemon, main_pid=None):
    pid = daemon.pid if main_pid is None else main_pid
    return run_ackd("-c", daemon.config_path, "--reload", env=environment({"MAINPID": str(pid)}))


def test_is_in_force_when_it_returns(ackd):
    daemon = ackd()
    for i in range(5):
        daemon.write_config(f'ack_prefix = "{i} ";')
        done = reload(daemon)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert daemon.exchange(b"x") == b"%d x" % i


def test_a_bad_configuration_never_reaches_the_daemon(ackd):
    daemon = ackd()
    daemon.write_config("colour = 1;")
    mark = daemon.mark()
    done = reload(daemon)
    assert done.returncode == 78
    assert "colour" in done.stderr
    daemon.write_config("")
    assert reload(daemon).returncode == 0
    assert "reload failed" not in "\n".join(daemon.lines[mark:])


def test_an_address_that_is_taken(ackd):
    daemon = ackd('listeners = ( { name = "a"; address = "127.0.0.1"; port = 0; } );', arguments=())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon.write_config(
            'listeners = ( { name = "a"; address = "127.0.0.1"; port = 0; ack_prefix = "new "; },'
            f'{{ name = "b"; address = "127.0.0.1"; port = {taken.getsockname()[1]}; }} );'
        )
        done = reload(daemon)
    assert done.returncode == 69
    assert f"the log of process {daemon.pid} says why" in done.stderr
    assert daemon.exchange(b"x", "a") == b"Got x"
    assert reload(daemon).returncode == 0
    assert daemon.exchange(b"x", "a") == b"new x"


@pytest.mark.parametrize("pid", [None, "", "0", "1", "-5", "12x", "99999999999999999999999"])
def test_which_process_must_be_said(config_file, pid):
    env = environment()
    env.pop("MAINPID", None)
    if pid is not None:
        env["MAINPID"] = pid
    done = run_ackd("-c", config_file(""), "--reload", env=env)
    assert done.returncode == 64
    assert "MAINPID" in done.stderr


def test_no_such_process(ackd):
    daemon = ackd()
    gone = subprocess.Popen(["true"])
    gone.wait()
    done = reload(daemon, gone.pid)
    assert done.returncode == 71
    assert f"process {gone.pid}: No such process" in done.stderr


def test_a_daemon_that_dies_meanwhile(ackd):
    """Stopped, so that it does not get to reload; then killed."""
    daemon = ackd()
    daemon.signal(signal.SIGSTOP)
    waiting = subprocess.Popen(
        [str(ackd_binary()), "-c", str(daemon.config_path), "--reload"],
        env=environment({"MAINPID": str(daemon.pid)}), stderr=subprocess.PIPE, text=True,
    )
    listens = f"@ackd-reload-{daemon.pid}"
    deadline = time.monotonic() + 30
    while listens not in open("/proc/net/unix").read() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert waiting.poll() is None
    daemon.kill()
    _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == 71
    assert "No such process" in said


def test_two_at_once_take_turns(ackd):
    daemon = ackd()
    outcomes = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(reload(daemon).returncode))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [0, 0, 0, 0]


def test_an_outcome_that_another_process_sends_is_not_believed(ackd):
    """Anyone can send to the socket where the outcome is awaited."""
    daemon = ackd()
    daemon.signal(signal.SIGSTOP)
    waiting = subprocess.Popen(
        [str(ackd_binary()), "-c", str(daemon.config_path), "--reload"],
        env=environment({"MAINPID": str(daemon.pid)}), stderr=subprocess.PIPE, text=True,
    )
    forged = (2**63).to_bytes(8, "little") + (78).to_bytes(8, "little")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as liar:
        deadline = time.monotonic() + 30
        while True:
            try:
                liar.sendto(forged, b"\0ackd-reload-%d" % daemon.pid)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        liar.sendto(b"short", b"\0ackd-reload-%d" % daemon.pid)
    assert waiting.poll() is None
    daemon.signal(signal.SIGCONT)
    _, said = waiting.communicate(timeout=30)
    assert (waiting.returncode, said) == (0, "")


def test_needs_no_port(ackd):
    """The check does not bind: the daemon itself has the port."""
    port = free_port()
    daemon = ackd(f'address = "127.0.0.1"; port = {port};', arguments=())
    assert reload(daemon).returncode == 0
    assert os.path.exists(f"/proc/{daemon.pid}")
