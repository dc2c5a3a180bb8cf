"""`meson install` installs all files below DESTDIR, and none elsewhere."""

import json
import pathlib
import shutil
import subprocess

import pytest

from harness import ROOT, build_directory, environment


def meson(*arguments, **options):
    return subprocess.run(["meson", *map(str, arguments)], stdin=subprocess.DEVNULL, check=True,
                          stdout=subprocess.PIPE, text=True, timeout=120, **options).stdout


@pytest.fixture(scope="module")
def destination(tmp_path_factory):
    return tmp_path_factory.mktemp("destdir")


@pytest.fixture(scope="module")
def install(destination):
    """Runs meson install below the destination."""
    build = build_directory()
    if not (build / "build.ninja").exists() or not shutil.which("meson"):
        pytest.skip("the build directory was not made by meson")
    return lambda: meson("install", "-C", build, "--no-rebuild",
                         env=environment({"DESTDIR": str(destination)}))


@pytest.fixture(scope="module")
def installed(destination, install):
    """Installs once. Returns place("sbindir", ...): a path below DESTDIR."""
    install()
    options = {x["name"]: x["value"]
               for x in json.loads(meson("introspect", "--buildoptions", build_directory()))}

    def place(directory, *names):
        path = pathlib.Path(options["prefix"], options[directory], *names)
        return destination / path.relative_to("/")

    return place


def test_daemon_is_installed_in_sbindir(installed):
    """The installed program prints its version."""
    done = subprocess.run([installed("sbindir", "ackd"), "--version"], capture_output=True,
                          text=True, timeout=30, check=True)
    assert done.stdout.startswith("ackd ")


def test_example_is_installed_as_documentation(installed):
    assert installed("datadir", "doc/ackd/examples/ackd.conf").read_bytes() \
        == (ROOT / "conf/ackd.conf").read_bytes()


def test_configuration_is_installed_in_sysconfdir(installed):
    """It equals the example, and the installed daemon accepts it."""
    path = installed("sysconfdir", "ackd.conf")
    assert path.read_bytes() == (ROOT / "conf/ackd.conf").read_bytes()
    assert path.stat().st_mode & 0o777 == 0o644
    subprocess.run([installed("sbindir", "ackd"), "-t", "-c", path], timeout=30, check=True)


def test_existing_configuration_is_kept(installed, install, tmp_path):
    """An edited file or dangling link is not replaced; the example is updated."""
    path = installed("sysconfdir", "ackd.conf")
    example = installed("datadir", "doc/ackd/examples/ackd.conf")
    shown = path.read_bytes()
    try:
        path.write_text("port = 7001;\n")
        example.write_text("old")
        install()
        assert path.read_text() == "port = 7001;\n"
        assert example.read_bytes() == shown
        path.unlink()
        path.symlink_to(tmp_path / "nowhere")
        install()
        assert path.is_symlink()
        assert not path.exists()
    finally:
        path.unlink()
        path.write_bytes(shown)


def test_sysconfdir_is_etc_for_any_prefix(installed):
    """The documented path is /etc/ackd.conf for any prefix."""
    assert installed("sysconfdir", "ackd.conf").parts[-2:] == ("etc", "ackd.conf")


def test_manual_pages_are_installed(installed):
    pages = sorted(ROOT.glob("man/*.[1-8]"))
    assert [page.name for page in pages if page.name in ("ackd.8", "ackd.conf.5")] \
        == ["ackd.8", "ackd.conf.5"]
    for page in pages:
        assert installed("mandir", "man" + page.suffix[1:], page.name).read_bytes() \
            == page.read_bytes()


def test_examples_are_installed(installed):
    names = ("grafana/ackd.json", "haproxy/ackd-tls.cfg", "haproxy/ackd.cfg",
             "kubernetes/ackd.yaml", "podman/ackd.container", "prometheus/ackd.rules.yml",
             "prometheus/ackd_test.yml")
    for name in names:
        assert installed("datadir", "doc/ackd/examples", name).read_bytes() \
            == (ROOT / "packaging" / name).read_bytes()


def test_client_is_installed_in_bindir(installed):
    if not (build_directory() / "src/ackc/ackc").exists():
        pytest.skip("this build has no ackc")
    assert installed("bindir", "ackc").stat().st_mode & 0o111
