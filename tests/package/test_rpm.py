"""The RPM packages: built by Debian's rpmbuild, installed, upgraded and erased."""

import pathlib
import re

import pytest

from service import Unit, connect, exchange, receive, run

TOP = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """ackd and ackc."""
    directory = tmp_path_factory.mktemp("rpm")
    run(TOP / "packaging/build-rpm", directory, "--without", "check", timeout=600)
    assert len(list(directory.glob("*.src.rpm"))) == 1
    return sorted(p for p in directory.glob("*.rpm") if not p.name.endswith(".src.rpm"))


def rpm(*arguments, **options):
    return run("rpm", "--force-debian", "--nodeps", *arguments, timeout=120, **options).stdout


def files(packages, *more):
    """Returns the files that programs and people look for, without those of licences and build IDs."""
    listed = run("rpm", "-qlp", *more, *packages).stdout.split("\n")
    return {x for x in listed if x.startswith("/") and "/licenses" not in x and ".build-id" not in x}


def test_files_are_those_of_the_installation(packages, tmp_path):
    """Every file of "meson install" is in one of the two packages; the configuration is kept."""
    assert [re.sub(r"-\d.*", "", p.name) for p in packages] == ["ackc", "ackd"]
    run("meson", "setup", "--prefix=/usr", "-Dtests=disabled", "-Dsystemd=enabled", tmp_path / "build", TOP,
        timeout=120)
    installed = run("meson", "introspect", "--installed", tmp_path / "build").stdout
    expected = {x for x in re.findall(r': "(/[^"]+)"', installed) if not x.endswith("/examples")}
    packaged = {re.sub(r"(/man/.*)\.gz$", r"\1", x) for x in files(packages)}
    assert len(expected) > 20
    assert expected - packaged == set()
    assert files(packages, "--configfiles") == {"/etc/ackd.conf"}


def test_install_upgrade_erase(packages):
    """The service is installed, but not started. An upgrade keeps its connections and configuration."""
    unit, conf = Unit("ackd.service"), pathlib.Path("/etc/ackd.conf")
    rpm("--install", *packages)
    try:
        assert (unit.state, unit.show("LoadState")) == ("inactive", "loaded")
        unit.enable("--now")
        assert exchange() == b"Got hello"
        assert run("ackc", "localhost", "10080", "hi").stdout == "Got hi\n"
        conf.write_text('ack_prefix = "mine ";\n')
        with connect() as s:
            s.sendall(b"half \xf0\x9f")
            assert receive(s, 9) == b"Got half "
            pid = unit.pid
            rpm("--upgrade", "--force", *packages)
            assert unit.pid != pid
            assert unit.restarts == 0
            s.sendall(b"\x98\x80")
            assert receive(s, 9) == "mine 😀".encode()
        assert exchange(b"x") == b"mine x"
    finally:
        rpm("--erase", "ackd", "ackc")
    assert (unit.state, unit.show("LoadState")) == ("inactive", "not-found")
    assert not pathlib.Path("/usr/sbin/ackd").exists()
    assert conf.with_suffix(".conf.rpmsave").exists()
    with pytest.raises(ConnectionRefusedError):
        connect()
