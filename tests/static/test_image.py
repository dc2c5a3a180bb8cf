"""The container image, run by crun as a container engine would: see conftest.py."""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request

import pytest

from conftest import IN_CGROUP2, Image, build_image
from harness import SOON, Address, converse, wait_until

IMAGE_MAX = 6 * 1000 * 1000
CLONE_NEWPID = 0x20000000
ADDRESS = Address("127.0.0.1:10080")


def exchange(data=b"hello"):
    with ADDRESS.connect() as s:
        return converse(s, data)


def health():
    try:
        with urllib.request.urlopen("http://127.0.0.1:9180/healthz", timeout=SOON) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_two_builds_have_the_same_digest(image, directory):
    build_image(directory / "again.tar")
    assert Image(directory / "again.tar").id == image.id
    assert (directory / "again.tar").read_bytes() == image.path.read_bytes()


def test_size_and_content(image, directory, record_property):
    size = image.path.stat().st_size
    record_property("image_bytes", size)
    assert size <= IMAGE_MAX
    image.unpack(directory / "content")
    files = {str(x.relative_to(directory / "content")): x.stat().st_mode & 0o7777
             for x in (directory / "content").rglob("*") if x.is_file()}
    assert files == {"usr/sbin/ackd": 0o755, "usr/bin/ackc": 0o755, "etc/ackd.conf": 0o644}


def test_configuration(image):
    assert image.config["User"] == "65534:65534"
    assert image.config["StopSignal"] == "SIGTERM"
    assert set(image.config["ExposedPorts"]) == {"10080/tcp", "9180/tcp"}
    assert image.config["Healthcheck"]["Test"][:2] == ["CMD", "/usr/bin/ackc"]


def test_layout_of_oci_is_reproducible_too(directory):
    builds = [directory / "1.oci", directory / "2.oci"]
    for path in builds:
        build_image(path, "--oci")
    assert builds[0].read_bytes() == builds[1].read_bytes()
    with tarfile.open(builds[0]) as archive:
        index = json.load(archive.extractfile("./index.json"))
        digest = index["manifests"][0]["digest"].removeprefix("sha256:")
        manifest = json.load(archive.extractfile("./blobs/sha256/" + digest))
        config = json.load(archive.extractfile(
            "./blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:")))
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert config["config"]["User"] == "65534:65534"


def test_exchange_health_check_and_stop(container, image):
    """As process 1, ackd ends on SIGTERM with 0, after it has answered what had arrived."""
    ackd = container()
    assert exchange() == b"Got hello"
    assert health() == 200
    status = pathlib.Path(f"/proc/{ackd.pid()}/status").read_text()
    assert "\nNSpid:\t%d\t1\n" % ackd.pid() in status
    assert "\nUid:\t65534\t" in status and "\nCapEff:\t0000000000000000\n" in status
    check = ackd.call("exec", *image.config["Healthcheck"]["Test"][1:])
    assert check.returncode == 0, check.stdout + check.stderr
    with ADDRESS.connect() as s:
        assert converse(s, b"open", half_close=False, until=8) == b"Got open"
        began = time.monotonic()
        assert ackd.stop() == 0
        assert time.monotonic() - began < 10  # docker stop kills after that
        assert s.recv(1) == b""
    events = [json.loads(line)["event"] for line in ackd.log.splitlines()]
    assert "ready" in events and events[-1] == "stop"


def test_stop_ends_a_client_that_does_not_read(container):
    """drain_timeout of the image ends before docker stop kills."""
    ackd = container()
    with ADDRESS.connect(receive_buffer=4096) as s:
        s.setblocking(False)
        try:
            while True:
                s.send(b"x" * 65536)
        except BlockingIOError:
            pass
        began = time.monotonic()
        assert ackd.stop() == 0
        assert time.monotonic() - began < 10


def test_signals_and_no_writable_path(container, directory):
    ackd = container(files={"/etc/ackd.conf": 'address = "*"; ack_prefix = "first ";'})
    assert exchange() == b"first hello"
    assert "warning" not in ackd.log and "error" not in ackd.log
    config, = directory.glob("ackd-test-*/_etc_ackd.conf")
    config.write_text('address = "*"; ack_prefix = "second ";')
    ackd.kill("HUP")
    ackd.wait_for("reloaded the configuration")
    assert exchange() == b"second hello"
    config.write_text("port = ;")
    ackd.kill("HUP")
    ackd.wait_for("reload failed")
    ackd.kill("USR1")
    ackd.wait_for("info stats")
    assert exchange() == b"second hello"
    ackd.kill("INT")
    assert ackd.process.wait(SOON) == 0


def test_exit_status_of_errors(container):
    ackd = container(files={"/etc/ackd.conf": "port = 1;\nports = 2;"}, ready=False)
    assert ackd.process.wait(SOON) == 78
    assert "/etc/ackd.conf:2: " in ackd.log
    ackd = container("--no-such-option", ready=False)
    assert ackd.process.wait(SOON) == 64


def test_podman_runs_it_and_checks_its_health(image, directory):
    """With the options that it makes of packaging/podman/ackd.container, and the host's network."""
    if not shutil.which("podman"):
        pytest.skip("needs podman")
    podman_here = [*IN_CGROUP2, "podman", f"--root={directory}/podman", f"--runroot={directory}/podman-run",
                   "--storage-driver=vfs", "--cgroup-manager=cgroupfs"]

    def podman(*arguments):
        done = subprocess.run([*podman_here, *arguments], check=False, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=4 * SOON)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    name = podman("load", "-q", "-i", image.path).stdout.split()[-1]
    # root may lack the right to raise limits, which are high by default
    podman("run", "-d", "--name=ackd", "--log-driver=k8s-file", "--cgroups=disabled", "--network=host",
           "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--read-only", "--read-only-tmpfs=false",
           "--security-opt=no-new-privileges", "--cap-drop=all", "--health-on-failure=kill",
           "--stop-timeout=25", name)
    try:
        wait_until(lambda: "ready: " in podman("logs", "ackd").stderr, "ackd to be ready")
        assert exchange() == b"Got hello"
        podman("healthcheck", "run", "ackd")
        podman("stop", "ackd")
        assert podman("wait", "ackd").stdout == "0\n"
    finally:
        podman("rm", "-f", "ackd")


def orphan_in(pid):
    """Creates a process in the PID namespace of process @pid that is a child of its process 1, ends, and
    returns its number here."""
    reader, writer = os.pipe()
    helper = os.fork()
    if helper == 0:
        namespace = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)
        if ctypes.CDLL(None).setns(namespace, CLONE_NEWPID) != 0 or os.fork() != 0:
            os._exit(0)
        orphan = os.fork()  # in the namespace; its parent ends first
        if orphan == 0:
            os.close(writer)
            os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    os.waitpid(helper, 0)
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    wait_until(lambda: len(children.read_text().split()) == 1, "an orphan of process 1")
    os.close(writer)
    return children


def test_no_zombies(container):
    ackd = container()
    children = orphan_in(ackd.pid())
    wait_until(lambda: children.read_text() == "", "the end of the orphan")
    assert exchange() == b"Got hello"
    assert ackd.stop() == 0


def test_killed_by_a_signal_from_outside(container):
    ackd = container()
    os.kill(ackd.pid(), signal.SIGKILL)
    assert ackd.process.wait(SOON) == 128 + signal.SIGKILL
    with socket.socket() as s:
        assert s.connect_ex(ADDRESS.sockaddr) != 0
