import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/integration")]

import surroundings  # noqa: E402
from harness import SOON, WITH_PARENT, build_directory, wait_until  # noqa: E402

CLONE_NEWNET = 0x40000000
surroundings.set_up()

# crun needs the control groups of version 2, which this gives it in a namespace of mounts of its own.
IN_CGROUP2 = ["unshare", "--mount", "sh", "-ec",
              'umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"', "sh"]


def pytest_sessionstart():
    """A loopback interface and ports of our own: the image has fixed ports."""
    if os.geteuid() == 0 and ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@pytest.fixture(scope="session")
def directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="ackd-static-"))
    yield path
    shutil.rmtree(path)


class Image:
    """An image archive in Docker's format, and its configuration."""

    def __init__(self, path):
        self.path = path
        with tarfile.open(path) as archive:
            manifest = json.load(archive.extractfile("./manifest.json"))[0]
            self.id = manifest["Config"].removesuffix(".json")
            self.config = json.load(archive.extractfile("./" + manifest["Config"]))["config"]
            self.layers = manifest["Layers"]

    def unpack(self, directory):
        with tarfile.open(self.path) as archive:
            for layer in self.layers:
                with tarfile.open(fileobj=archive.extractfile("./" + layer)) as files:
                    files.extractall(directory)


def build_image(path, *options):
    """Runs packaging/build-image with the programs under test; returns what it printed."""
    if os.geteuid() != 0 or not shutil.which("buildah"):
        pytest.skip("needs root and buildah")
    done = subprocess.run([ROOT / "packaging/build-image", *options, path], check=False, text=True,
                          env={**os.environ, "ACKD_STATIC": str(build_directory())},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def image(directory):
    build_image(directory / "image.tar")
    return Image(directory / "image.tar")


class Container:
    """A container that crun runs as a container engine would: as user 65534 without capabilities, and
    with a root that nobody can write to."""

    def __init__(self, image, directory, name, arguments=(), files=None):
        self.directory = directory / name
        self.name = name
        self.state = ["crun", "--root", str(directory / "crun"), "--cgroup-manager=disabled"]
        root = self.directory / "root"
        root.mkdir(parents=True)
        image.unpack(root)
        mounts = [{"destination": "/proc", "type": "proc", "source": "proc"},
                  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}]
        for path, text in (files or {}).items():
            outside = self.directory / path.replace("/", "_")
            outside.write_text(text)
            mounts.append({"destination": path, "type": "bind", "source": str(outside),
                           "options": ["bind", "ro"]})
        user, group = map(int, image.config["User"].split(":"))
        (self.directory / "config.json").write_text(json.dumps({
            "ociVersion": "1.0.0",
            "process": {"user": {"uid": user, "gid": group}, "cwd": image.config["WorkingDir"],
                        "args": [*image.config["Entrypoint"], *image.config["Cmd"], *arguments],
                        "env": image.config["Env"] or [], "capabilities": {},
                        "noNewPrivileges": True},
            "root": {"path": "root", "readonly": True},
            "mounts": mounts,
            "linux": {"namespaces": [{"type": x} for x in ("pid", "mount", "ipc", "uts")]},
        }))
        self.log_path = self.directory / "log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*WITH_PARENT, *IN_CGROUP2, *self.state, "run", "--bundle", self.directory, name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_for(self, text, count=1):
        def found():
            assert self.process.poll() is None or self.log.count(text) >= count, self.log
            return self.log.count(text) >= count

        wait_until(found, f"{text!r} in the log")

    def call(self, command, *arguments):
        """Runs a command of crun, such as exec, on the container; returns a CompletedProcess."""
        return subprocess.run([*IN_CGROUP2, *self.state, command, self.name, *arguments], check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=SOON)

    def kill(self, signal):
        done = self.call("kill", signal)
        assert done.returncode == 0, done.stderr

    def pid(self):
        return json.loads(self.call("state").stdout)["pid"]

    def stop(self):
        """Stops it as docker stop does in the first 10 s, by SIGTERM. Returns the exit status."""
        self.kill("TERM")
        return self.process.wait(SOON)

    def remove(self):
        if self.process.poll() is None:
            self.call("kill", "KILL")
            self.process.wait(SOON)


@pytest.fixture
def container(image, directory):
    """container("-p", "0", files={"/etc/ackd.conf": "..."}) starts one of the image."""
    if not shutil.which("crun"):
        pytest.skip("needs crun")
    started = []

    def start(*arguments, files=None, ready=True):
        name = f"ackd-test-{os.getpid()}-{len(list(directory.iterdir()))}"
        started.append(Container(image, directory, name, arguments, files))
        if ready:
            started[-1].wait_for("ready: ")
        return started[-1]

    yield start
    for x in started:
        x.remove()
        print(x.log)
