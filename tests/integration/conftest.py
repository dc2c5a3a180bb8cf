import ctypes
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import faults as shim  # noqa: E402
import surroundings  # noqa: E402  (needs the path)
import windows  # noqa: E402
from ackc_peers import is_windows  # noqa: E402
from harness import Daemon, ackd_binary, have, is_static, sanitizer  # noqa: E402
from manager import Manager, skip_without_systemd  # noqa: E402

CLONE_NEWNET = 0x40000000
surroundings.set_up()


def pytest_sessionstart(session):
    """Gives each test process its own loopback interface and ports, if permitted (as root)."""
    config = session.config
    is_worker = hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    if is_worker and have("ip") and ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        config.has_own_network = True


def pytest_report_header():
    return f"ackd: {ackd_binary()} (sanitizer: {sanitizer() or 'none'})"


collect_ignore = [] if is_windows() else ["test_ackc_windows.py"]


def pytest_collection_modifyitems(items):
    if is_windows():
        windows.skip(items)
    wrong = surroundings.raise_descriptors()
    for item in items if wrong else ():
        item.add_marker(pytest.mark.skip(reason=wrong))


@pytest.fixture
def directory():
    """A temporary directory whose path is short enough for the address of a UNIX socket."""
    path = tempfile.mkdtemp(prefix="ackd-test-")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def ackd():
    """Starts daemons: ackd("reply = \\"echo\\";") returns one that is ready.

    A daemon that still runs at the end of the test is stopped, and must exit with 0.
    """
    made = []
    directories = []

    def make(config="", start=True, ready=True, **options):
        path = tempfile.mkdtemp(prefix="ackd-test-")
        directories.append(path)
        daemon = Daemon(path, config, **options)
        made.append(daemon)
        return daemon.start(ready=ready) if start else daemon

    try:
        yield make
        for daemon in made:
            if daemon.process and daemon.process.poll() is None:
                daemon.stop()
            daemon.check_log()
    finally:
        for daemon in made:
            daemon.kill()
            print(daemon.log[-5000:])  # pytest shows it if the test has failed
        for path in directories:
            shutil.rmtree(path)


@pytest.fixture
def unit(directory):
    """A service manager, which stops its daemons after the test."""
    skip_without_systemd()
    manager = Manager(directory)
    manager.daemons = []

    def start(config="", **options):
        daemon = manager.daemon(directory, config, **options)
        manager.daemons.append(daemon)
        return daemon

    def restart(daemon, *arguments, **options):
        daemon = manager.restart(daemon, *arguments, **options)
        manager.daemons.append(daemon)
        return daemon

    manager.start, manager.again = start, restart
    yield manager
    for daemon in manager.daemons:
        print(daemon.log[-5000:])  # pytest shows it if the test has failed
        if daemon.process.poll() is None:
            daemon.stop()
        daemon.check_log()
    manager.close()


@pytest.fixture
def config_file(directory):
    """Writes a configuration file: config_file("port = 1;") returns its path."""

    def write(text, name="ackd.conf"):
        path = f"{directory}/{name}"
        with open(path, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode("utf-8"))
        return path

    return write


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory):
    if not have("cc"):
        pytest.skip("no compiler for the shim")
    if sanitizer() == "emulator":
        pytest.skip("the program runs in valgrind or qemu, which loads no shim")
    if is_static():
        pytest.skip("a static program loads no shim")
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def faults(shim_library):
    """The faults to inject into daemons started with faults.environment(); none at first."""
    control = shim.Faults(shim_library)
    yield control
    control.close()


@pytest.fixture
def own_network(pytestconfig):
    """Lets a test change the interfaces and routes of its process."""
    if not getattr(pytestconfig, "has_own_network", False):
        pytest.skip("no network namespace of its own, which only root may have")


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
