"""ackd --reload: what a unit's ExecReload runs, and what it tells the service manager."""

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
    fill,
    free_port,
    run_ackd,
    wait_until,
)


@pytest.fixture
def ackd(ackd, directory):
    """Daemons with a runtime directory, as a unit gives them one."""

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
    """How many requests are connected, whether the daemon has accepted them or not."""
    path = str(control_of(daemon))
    lines = pathlib.Path("/proc/net/unix").read_text().splitlines()
    return sum(line.split()[-1] == path for line in lines) - 1  # that which listens


@contextlib.contextmanager
def requests(daemon, n=1):
    """Commands whose requests wait while the daemon stands still; it goes on at the end."""
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
    assert "see the log of ackd" in done.stderr
    assert daemon.exchange(b"x", "a") == b"Got x"
    assert reload(daemon).returncode == 0
    assert daemon.exchange(b"x", "a") == b"new x"


@pytest.mark.parametrize("pid", [None, "", "0", "1", "-5", "12x", "99999999999999999999999"])
def test_which_process_must_be_said(config_file, pid):
    """Without a runtime directory."""
    env = environment({} if pid is None else {"MAINPID": pid})
    done = run_ackd("-c", config_file(""), "--reload", env=env)
    assert done.returncode == 64
    assert "MAINPID" in done.stderr
    assert "RUNTIME_DIRECTORY" in done.stderr


def test_no_such_process(config_file):
    gone = subprocess.Popen(["true"])
    gone.wait()
    env = environment({"MAINPID": str(gone.pid)})
    done = run_ackd("-c", config_file(""), "--reload", env=env)
    assert done.returncode == 71
    assert f"process {gone.pid}: No such process" in done.stderr


def test_nobody_listens(directory, config_file):
    env = environment({"RUNTIME_DIRECTORY": directory})
    done = run_ackd("-c", config_file(""), "--reload", env=env)
    assert done.returncode == 71
    assert f"cannot connect to ackd at {directory}/control: No such file or directory" in done.stderr


def test_a_daemon_that_dies_meanwhile(ackd):
    daemon = ackd()
    with requests(daemon) as (waiting,):
        assert waiting.poll() is None
        daemon.kill()
        _, said = waiting.communicate(timeout=SOON)
    assert waiting.returncode == 71
    assert "ackd is ending" in said


def test_a_daemon_that_drains_does_not_reload(ackd):
    daemon = ackd('address = "127.0.0.1"; reply = "echo"; limits = { drain_timeout = 60; };')
    with daemon.connect() as s:
        fill(s, b"unread")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("draining")
        done = reload(daemon)
        assert done.returncode == 71
        assert "ackd is ending" in done.stderr
        daemon.kill()


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


def test_more_requests_than_one_reload_answers(ackd):
    daemon = ackd()
    with requests(daemon, 17) as waiting:  # as many as the queue has room for
        daemon.write_config('ack_prefix = "new ";')
    for process in waiting:
        _, said = process.communicate(timeout=SOON)
        assert (process.returncode, said) == (0, "")
    assert daemon.exchange(b"x") == b"new x"


def test_a_request_that_is_given_up(ackd):
    daemon = ackd()
    with requests(daemon) as (waiting,):
        waiting.kill()
        waiting.wait()
    daemon.write_config('ack_prefix = "new ";')
    assert reload(daemon).returncode == 0
    assert daemon.exchange(b"x") == b"new x"


def test_a_reload_by_signal_meanwhile(ackd):
    """Each request is answered by a reload that began after it."""
    daemon = ackd()
    with requests(daemon) as (waiting,):
        daemon.signal(signal.SIGHUP)
        daemon.write_config('ack_prefix = "new ";')
    assert waiting.wait(SOON) == 0
    waiting.stderr.close()
    assert daemon.exchange(b"x") == b"new x"


# ---- where it listens ----


def test_only_its_user_and_root_can_ask(ackd, directory):
    daemon = ackd()
    assert stat.S_IMODE(control_of(daemon).lstat().st_mode) == 0o600
    if os.geteuid() != 0:
        pytest.skip("it takes root to try it as another user")
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


def test_an_abstract_name_does_not_block_it(ackd):
    """Anyone can bind one, and so none may matter."""
    daemon = ackd()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.bind(f"\0ackd-reload-{daemon.pid}")
        env = environment({**request_environment(daemon), "MAINPID": str(daemon.pid)})
        assert run_ackd("-c", daemon.config_path, "--reload", env=env).returncode == 0


@pytest.mark.parametrize("form, used", [("{}:/nonexistent", ""), ("{}/a:b", "a:b")])
def test_colons_in_the_runtime_directory(ackd, directory, form, used):
    """They separate several, of which the first counts, or belong to the name of the only one."""
    os.mkdir(f"{directory}/a:b")
    daemon = ackd(env={"RUNTIME_DIRECTORY": form.format(directory)})
    assert (pathlib.Path(directory) / used / "control").is_socket()
    assert reload(daemon).returncode == 0


def test_by_hand(ackd):
    """Without a runtime directory the process says where it listens."""
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


def test_the_socket_of_a_killed_daemon_is_replaced(ackd):
    first = ackd()
    first.kill()
    assert control_of(first).exists()
    second = ackd()
    assert reload(second).returncode == 0
    second.stop()
    assert not control_of(second).exists()


def test_the_socket_of_another_daemon_is_left_alone(ackd):
    first = ackd()
    second = ackd()
    second.wait_for(r"cannot listen on \S+/control: address already in use")
    second.stop()
    first.write_config('ack_prefix = "first ";')
    assert reload(first).returncode == 0
    assert first.exchange(b"x") == b"first x"


@pytest.mark.parametrize("name", ["missing", "x" * 100])
def test_no_place_for_the_socket(ackd, directory, name):
    """It serves, and the log has the reason."""
    daemon = ackd(env={"RUNTIME_DIRECTORY": f"{directory}/{name}"})
    daemon.wait_for('"ackd --reload" will fail: cannot listen on ')
    assert daemon.exchange(b"x") == b"Got x"
    assert reload(daemon).returncode == 71


def test_no_descriptors_left(ackd):
    """The request waits, and the loop does not spin meanwhile."""
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


def test_needs_no_port(ackd):
    """The check does not bind: the daemon itself has the port."""
    port = free_port()
    daemon = ackd(f'address = "127.0.0.1"; port = {port};', arguments=())
    assert reload(daemon).returncode == 0
    assert os.path.exists(f"/proc/{daemon.pid}")
