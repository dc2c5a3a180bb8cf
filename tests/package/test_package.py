"""The Debian packages: built, checked, installed, upgraded, removed and purged."""

import gzip
import hashlib
import os
import pathlib
import re
import shutil
import threading

import pytest

from service import Journal, Unit, connect, exchange, receive, run, wait_until

TOP = pathlib.Path(__file__).resolve().parents[2]
VERSION = re.search(r"^  version: '([0-9.]+)'", (TOP / "meson.build").read_text(), re.M)[1]
OLDER = "0.1.0"
# A commit of version 0.1.0, whose saved state has the first format.
FIRST = "276e858e5a936ea8c53129145708ee269ed2d3ef"


def build(directory, tree=TOP):
    directory.mkdir()
    run("env", "DEB_BUILD_OPTIONS=nocheck", tree / "packaging/build-deb", directory, timeout=600)
    return directory


def build_copy(tree):
    """Builds packages of a copy of the sources, which becomes a repository."""
    run("git", "-C", tree, "init", "-q")
    run("git", "-C", tree, "add", "--all")
    return installable(build(tree.parent / "deb", tree))


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("deb") / "one")


def installable(directory):
    """ackd and ackc, without their debug symbols."""
    # In container images this file keeps packages from starting services.
    pathlib.Path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)
    return sorted(p for p in directory.glob("ack[cd]_*.deb"))


@pytest.fixture(scope="session")
def packages(built):
    return installable(built)


@pytest.fixture(scope="session")
def older_packages(tmp_path_factory):
    """The same files, packaged as an older version."""
    tree = tmp_path_factory.mktemp("older") / "ackd"
    for name in run("git", "-C", TOP, "ls-files", "-z").stdout.rstrip("\0").split("\0"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, tree / name, follow_symlinks=False)
    for name in "meson.build", "packaging/debian/changelog":
        text = (tree / name).read_text()
        assert VERSION in text
        (tree / name).write_text(text.replace(VERSION, OLDER, 1))
    return build_copy(tree)


@pytest.fixture(scope="session")
def first_packages(tmp_path_factory):
    """The packages of version 0.1.0, from the history of this repository."""
    if run("git", "-C", TOP, "cat-file", "-e", FIRST, check=False).returncode != 0:
        pytest.skip(f"this checkout lacks the commit {FIRST}")
    tree = tmp_path_factory.mktemp("first") / "ackd"
    tree.mkdir()
    run("sh", "-c", 'git -C "$0" archive "$1" | tar -C "$2" -x', TOP, FIRST, tree)
    return build_copy(tree)


def dpkg(*arguments):
    return run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", *arguments, timeout=120).stdout


def test_lintian_reports_nothing(built):
    changes, = built.glob("*.changes")
    said = run("lintian", "--pedantic", "--display-info", "--fail-on",
               "error,warning,info,pedantic", changes, timeout=300, check=False)
    assert re.findall(r"^[EWIP]: .*", said.stdout, re.M) == []
    assert said.returncode == 0, said.stdout


def test_units_are_found_without_a_file_for_pkg_config():
    """Since Debian 13 it is in a package of its own, systemd-dev, which may be missing."""
    done = run("env", "PKG_CONFIG_LIBDIR=/nonexistent", "make", "-s", "-f", TOP / "packaging/debian/rules",
               "--eval", "units: ; @echo $(UNITS)", "units")
    assert done.stdout == "usr/lib/systemd/system\n"


def test_builds_are_reproducible(built, tmp_path):
    again = build(tmp_path / "somewhere-else")

    def digests(directory):
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
                for p in directory.iterdir() if p.suffix in (".deb", ".xz", ".dsc")}

    assert len(digests(built)) >= 4
    assert digests(again) == digests(built)


def test_archive_is_complete(built, tmp_path):
    """The upstream archive makes itself again, and shows no name of a value that it should contain."""
    archive, = built.glob("ackd_*.orig.tar.xz")
    run("tar", "-C", tmp_path, "-xf", archive)
    tree, = tmp_path.iterdir()
    run(tree / "packaging/build-archive", tmp_path)
    assert (tmp_path / f"ackd-{VERSION}.tar.xz").read_bytes() == archive.read_bytes()
    names = "VERSION|RELEASED|HOMEPAGE|REPOSITORY|BROWSER|BUGS|RELEASES|CONTACT|SECURITY"
    assert run("grep", "-rE", f"@({names})@", "--exclude=build-archive", tree / "packaging",
               check=False).stdout == ""
    assert not (tree / "debian").exists()  # the Debian package adds it


def leftovers():
    """Returns every path named after ackd or ackc, without those of dpkg, man, logs and other checkouts."""
    found = set()
    for top in "/etc", "/usr", "/lib", "/var", "/run":
        for directory, names, files in os.walk(top):
            if directory.startswith(("/var/lib/dpkg", "/var/cache/man", "/var/log", "/var/tmp", str(TOP))):
                names.clear()
            found |= {os.path.join(directory, n) for n in names + files
                      if re.search(r"\back[cd]\b", n)}
    return found


def test_install_upgrade_remove_purge(packages):
    before = leftovers()
    dpkg("--install", *packages)
    unit = Unit("ackd.service")
    assert unit.show("LoadState") == "loaded"
    assert Unit("ackd.socket").show("UnitFileState") == "disabled"
    assert Unit("ackd.socket").state == "inactive"
    assert (unit.state, unit.show("UnitFileState")) == ("active", "enabled")
    for page, what in ("ackd", "acknowledgement daemon"), ("ackd.conf", "configuration"), \
            ("ackc", "talk to an echo server"), ("ackd-scaling", "load balancing"), \
            ("ackd-protocol", "for writers of clients"), ("ackd-course", "server of a course"):
        assert what in run("man", page).stdout
    assert exchange() == b"Got hello"
    assert run("ackc", "localhost", "10080", "hi").stdout == "Got hi\n"
    assert "ackd: ackd is ready" in run("journalctl", "--list-catalog").stdout

    # An upgrade keeps connections, also those of instances.
    pathlib.Path("/etc/ackd").mkdir()
    pathlib.Path("/etc/ackd/blue.conf").write_text("port = 7001;\n")
    instance = Unit("ackd@blue.service")
    instance.start()
    pid, instance_pid = unit.pid, instance.pid
    with connect() as s:
        s.sendall(b"half \xf0\x9f")
        assert receive(s, 9) == b"Got half "
        dpkg("--install", *packages)
        assert unit.pid != pid
        assert instance.pid != instance_pid
        s.sendall(b"\x98\x80")
        assert receive(s, 8) == "Got 😀".encode()

    # An upgrade keeps a changed configuration.
    conf = pathlib.Path("/etc/ackd.conf")
    news = gzip.decompress(pathlib.Path("/usr/share/doc/ackd/NEWS.Debian.gz").read_bytes())
    assert b"too_many_connections" in news
    example = pathlib.Path("/usr/share/doc/ackd/examples/ackd.conf")
    assert conf.read_bytes() == example.read_bytes()
    assert str(conf) in run("dpkg-query", "-W", "-f", "${Conffiles}", "ackd").stdout
    conf.write_text('ack_prefix = "mine ";\n')
    unit.reload()
    dpkg("--force-confdef", "--force-confold", "--install", *packages)
    assert exchange(b"x") == b"mine x"

    pathlib.Path("/etc/ackd/blue.conf").unlink()
    pathlib.Path("/etc/ackd").rmdir()
    unit.stop()
    Unit("ackd.socket").start()
    dpkg("--remove", "ackd")
    assert (unit.state, instance.state) == ("inactive", "inactive")
    assert Unit("ackd.socket").state == "inactive"
    assert conf.exists()
    with pytest.raises(ConnectionRefusedError):
        connect()
    dpkg("--purge", "ackd", "ackc")
    wait_until(lambda: leftovers() == before, f"nothing to be left: {leftovers() - before}", 5)


def test_upgrade_and_downgrade_keep_connections(older_packages, packages):
    """Connections are kept from one version to another and back."""
    unit = Unit("ackd.service")
    dpkg("--install", *older_packages)
    try:
        with connect() as s:
            for version, files in (VERSION, packages), (OLDER, older_packages):
                pid = unit.pid
                s.sendall(b"half \xf0\x9f")
                assert receive(s, 9) == b"Got half "
                dpkg("--install", *files)
                assert unit.pid != pid
                assert f"ackd {version}\n" in run(f"/proc/{unit.pid}/exe", "--version").stdout
                s.sendall(b"\x98\x80")
                assert receive(s, 8) == "Got 😀".encode()
        assert unit.restarts == 0
    finally:
        dpkg("--purge", "ackd", "ackc")


def test_upgrade_from_the_first_release(first_packages, packages):
    """Its state is of another version: connections are closed without a reset, and no client is refused."""
    unit = Unit("ackd.service")
    dpkg("--install", *first_packages)
    journal = Journal()
    ended, refused = threading.Event(), []

    def keep_connecting():
        while not ended.is_set():
            try:
                connect().close()
            except OSError as error:
                refused.append(error)

    client = threading.Thread(target=keep_connecting)
    try:
        with connect() as s:
            s.sendall(b"half \xf0\x9f")
            assert receive(s, 9) == b"Got half "
            client.start()
            dpkg("--force-confnew", "--install", *packages)
            assert s.recv(100) == b""  # the end, and no reset
        ended.set()
        client.join()
        assert refused == []
        assert exchange() == b"Got hello"
        assert unit.restarts == 0
        assert "version" in journal.wait_for("restore", lambda entry: entry["PRIORITY"] == "3")["MESSAGE"]
        with connect() as s:
            s.sendall(b"half \xf0\x9f")
            assert receive(s, 9) == b"Got half "
            unit.restart()
            s.sendall(b"\x98\x80")
            assert receive(s, 8) == "Got 😀".encode()
    finally:
        ended.set()
        dpkg("--purge", "ackd", "ackc")


def test_autopkgtest_passes(packages, tmp_path):
    """Runs debian/tests on the installed packages, as autopkgtest does."""
    tests = TOP / "packaging/debian/tests"
    names = re.findall(r"^Tests: (.*)$", (tests / "control").read_text(), re.M)
    assert len(names) >= 4
    dpkg("--install", *packages)
    try:
        for name in names:
            run(tests / name, timeout=120, cwd=tmp_path)
    finally:
        dpkg("--purge", "ackd", "ackc")
