"""ackd --reload, the command of ExecReload=, and its result for the service manager."""

import contextlib
import os
import pathlib
import resource
import signal
import socket
import stat
import subprocess
import threading

import pytest

from harness import (
    SOON,
    Frozen,
    ackd_binary,
    control_by_hand,
    environment,
    free_port,
    run_ackd,
    state_of,
    wait_until,
)


@pytest.fixture
def ackd(ackd, directory):
    """Starts daemons with a runtime directory, as those of a unit."""

    def make(config="", env=None, **options):
        return ackd(config, env={"RUNTIME_DIRECTORY": directory, **(env or {})}, **options)

    return make


def request_environment(daemon):
    return environment({"RUNTIME_DIRECTORY": daemon.env["RUNTIME_DIRECTORY"]})


def reload(daemon, **options):
    return run_ackd("-c", daemon.config_path, "--reload", env=request_environment(daemon), **options)


def control_of(daemon):
    return pathlib.Path(daemon.env["RUNTIME_DIRECTORY"]) / "control"


def n_requests(daemon):
    """Returns the number of connected requests, accepted or not."""
    path = str(control_of(daemon))
    lines = pathlib.Path("/proc/net/unix").read_text().splitlines()
    return sum(line.split()[-1] == path for line in lines) - 1  # without the listening socket


@contextlib.contextmanager
def requests(daemon, n=1):
    """Runs commands whose requests wait while the daemon is stopped; it is resumed at the end."""
    with Frozen(daemon):
        waiting = [
            subprocess.Popen(
                [str(ackd_binary()), "-c", str(daemon.config_path), "--reload"],
                env=request_environment(daemon), stderr=subprocess.PIPE, text=True,
            )
            for _ in range(n)
        ]
        wait_until(lambda: n_requests(daemon) == n, "the requests")
        yield waiting


def test_reload_is_in_force_when_the_command_returns(ackd):
    daemon = ackd()
    for i in range(5):
        daemon.write_config(f'ack_prefix = "{i} ";')
        done = reload(daemon)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert daemon.exchange(b"x") == b"%d x" % i


def test_invalid_configuration_does_not_reach_the_daemon(ackd):
    daemon = ackd()
    daemon.write_config("colour = 1;")
    mark = daemon.mark()
    done = reload(daemon)
    assert done.returncode == 78
    assert "colour" in done.stderr
    daemon.write_config("")
    assert reload(daemon).returncode == 0
    assert "reload failed" not in "\n".join(daemon.lines[mark:])


def test_address_in_use_fails_the_reload(ackd):
    daemon = ackd('listeners = ( { name = "a"; address = "127.0.0.1"; port = 0; } );', arguments=())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon.write_config(
            'listeners = ( { name = "a"; address = "127.0.0.1"; port = 0; ack_prefix = "new "; },'
            f'{{ name = "b"; address = "127.0.0.1"; port = {taken.getsockname()[1]}; }} );'
        )
        done = reload(daemon)
    assert done.returncode == 69
    assert "see the log of ackd" in done.stderr
    assert daemon.exchange(b"x", "a") == b"Got x"
    assert reload(daemon).returncode == 0
    assert daemon.exchange(b"x", "a") == b"new x"


@pytest.mark.parametrize("pid", [None, "", "0", "1", "-5", "12x", "99999999999999999999999"])
def test_mainpid_is_required(config_file, pid):
    """There is no runtime directory."""
    env = environment({} if pid is None else {"MAINPID": pid})
    done = run_ackd("-c", config_file(""), "--reload", env=env)
    assert done.returncode == 64
    assert "MAINPID" in done.stderr
    assert "RUNTIME_DIRECTORY" in done.stderr


def test_missing_process_is_an_error(config_file):
    gone = subprocess.Popen(["true"])
    gone.wait()
    env = environment({"MAINPID": str(gone.pid)})
    done = run_ackd("-c", config_file(""), "--reload", env=env)
    assert done.returncode == 71
    assert f"process {gone.pid}: No such process" in done.stderr


def test_missing_control_socket_is_an_error(directory, config_file):
    env = environment({"RUNTIME_DIRECTORY": directory})
    done = run_ackd("-c", config_file(""), "--reload", env=env)
    assert done.returncode == 71
    assert f"cannot connect to ackd at {directory}/control: No such file or directory" in done.stderr


def test_daemon_that_dies_meanwhile_is_an_error(ackd):
    daemon = ackd()
    with requests(daemon) as (waiting,):
        assert waiting.poll() is None
        daemon.kill()
        _, said = waiting.communicate(timeout=SOON)
    assert waiting.returncode == 71
    assert "ackd is ending" in said


def test_draining_daemon_does_not_reload(ackd):
    daemon = ackd('address = "127.0.0.1"; reply = "echo"; limits = { drain_timeout = 60; };')
    with daemon.connect() as s:
        daemon.fill(s, b"unread")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("draining")
        done = reload(daemon)
        assert done.returncode == 71
        assert "ackd is ending" in done.stderr
        daemon.kill()


def test_parallel_requests_are_served_one_after_another(ackd):
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


def test_many_waiting_requests_are_answered(ackd):
    daemon = ackd()
    with requests(daemon, 17) as waiting:  # the length of the queue
        daemon.write_config('ack_prefix = "new ";')
    for process in waiting:
        _, said = process.communicate(timeout=SOON)
        assert (process.returncode, said) == (0, "")
    assert daemon.exchange(b"x") == b"new x"


def test_stopped_command_waits_again(ackd):
    """As after Ctrl-Z and fg, or while a tracer attaches."""
    daemon = ackd()
    with requests(daemon) as waiting:
        for number, state in (None, "S"), (signal.SIGSTOP, "T"), (signal.SIGCONT, "S"):
            if number:
                waiting[0].send_signal(number)
            wait_until(lambda state=state: state_of(waiting[0].pid) == state, f"state {state}")
    assert (waiting[0].communicate(timeout=SOON)[1], waiting[0].returncode) == ("", 0)


def test_abandoned_request_is_harmless(ackd):
    daemon = ackd()
    with requests(daemon) as (waiting,):
        waiting.kill()
        waiting.wait()
    daemon.write_config('ack_prefix = "new ";')
    assert reload(daemon).returncode == 0
    assert daemon.exchange(b"x") == b"new x"


def test_request_during_a_reload_by_signal(ackd):
    """Each request is answered by a reload that begins after it."""
    daemon = ackd()
    with requests(daemon) as (waiting,):
        daemon.signal(signal.SIGHUP)
        daemon.write_config('ack_prefix = "new ";')
    assert waiting.wait(SOON) == 0
    waiting.stderr.close()
    assert daemon.exchange(b"x") == b"new x"


# ---- the control socket ----


def test_only_the_user_and_root_can_request_a_reload(ackd, directory):
    daemon = ackd()
    assert stat.S_IMODE(control_of(daemon).lstat().st_mode) == 0o600
    if os.geteuid() != 0:
        pytest.skip("only root can run ackd as another user")
    os.chmod(directory, 0o755)
    ask = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
         "/usr/bin/python3", "-c",
         "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])",
         str(control_of(daemon))],
        capture_output=True, text=True, timeout=SOON, check=False,
    )
    assert ask.returncode != 0
    assert "PermissionError" in ask.stderr
    assert reload(daemon).returncode == 0


def test_bound_abstract_name_does_not_block_reloads(ackd):
    """Every user can bind abstract names, so ackd must not depend on them."""
    daemon = ackd()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.bind(f"\0ackd-reload-{daemon.pid}")
        env = environment({**request_environment(daemon), "MAINPID": str(daemon.pid)})
        assert run_ackd("-c", daemon.config_path, "--reload", env=env).returncode == 0


@pytest.mark.parametrize("form, used", [("{}:/nonexistent", ""), ("{}/a:b", "a:b")])
def test_runtime_directory_may_contain_colons(ackd, directory, form, used):
    """Colons separate several directories, of which the first is used, or belong to a name."""
    os.mkdir(f"{directory}/a:b")
    daemon = ackd(env={"RUNTIME_DIRECTORY": form.format(directory)})
    assert (pathlib.Path(directory) / used / "control").is_socket()
    assert reload(daemon).returncode == 0


def test_reload_without_a_runtime_directory(ackd):
    """Without a runtime directory the path is derived from the process ID."""
    daemon = ackd(env={"RUNTIME_DIRECTORY": ""})
    control = control_by_hand(daemon.pid)
    if not os.access(control.parent, os.W_OK):
        pytest.skip(f"{control.parent} is not writable")
    assert stat.S_IMODE(control.lstat().st_mode) == 0o600
    daemon.write_config('ack_prefix = "new ";')
    env = environment({"MAINPID": str(daemon.pid)})
    assert run_ackd("-c", daemon.config_path, "--reload", env=env).returncode == 0
    assert daemon.exchange(b"x") == b"new x"
    daemon.stop()
    assert not control.exists()


def test_control_socket_of_a_killed_daemon_is_replaced(ackd):
    first = ackd()
    first.kill()
    assert control_of(first).exists()
    second = ackd()
    assert reload(second).returncode == 0
    second.stop()
    assert not control_of(second).exists()


def test_control_socket_of_another_daemon_is_kept(ackd):
    first = ackd()
    second = ackd()
    second.wait_for(r"cannot listen on \S+/control: address already in use")
    second.stop()
    first.write_config('ack_prefix = "first ";')
    assert reload(first).returncode == 0
    assert first.exchange(b"x") == b"first x"


@pytest.mark.parametrize("name", ["missing", "x" * 100])
def test_daemon_runs_without_a_control_socket(ackd, directory, name):
    """The daemon serves, and the log has the reason."""
    daemon = ackd(env={"RUNTIME_DIRECTORY": f"{directory}/{name}"})
    daemon.wait_for('"ackd --reload" will fail: cannot listen on ')
    assert daemon.exchange(b"x") == b"Got x"
    assert reload(daemon).returncode == 71


def test_request_waits_without_descriptors(ackd):
    """The request waits, without a busy loop."""
    daemon = ackd()
    limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    with requests(daemon) as (waiting,):
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    before = daemon.cpu_seconds()
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(2)
    assert daemon.cpu_seconds() - before < 1
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
    assert waiting.wait(SOON) == 0
    waiting.stderr.close()


def test_command_does_not_bind_the_port(ackd):
    """The check does not bind the port, which the daemon uses."""
    port = free_port()
    daemon = ackd(f'address = "127.0.0.1"; port = {port};', arguments=())
    assert reload(daemon).returncode == 0
    assert os.path.exists(f"/proc/{daemon.pid}")
