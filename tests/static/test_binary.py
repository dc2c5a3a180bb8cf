"""The static programs: what is in the files, and that two builds are equal."""

import os
import re
import subprocess

import pytest

from conftest import ROOT
from harness import ackd_binary, build_directory

PROGRAMS = ["ackd/ackd", "ackc/ackc"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_needs_nothing_and_is_hardened(name, record_property):
    path = build_directory() / "src" / name
    record_property(name, path.stat().st_size)
    headers = subprocess.run(["readelf", "-hldSW", path], check=True, stdout=subprocess.PIPE,
                             text=True).stdout
    assert re.search(r"Type:\s+DYN \(Position-Independent Executable", headers)
    assert "INTERP" not in headers and "(NEEDED)" not in headers
    assert "GNU_RELRO" in headers and re.search(r"GNU_STACK\s.*RW ", headers)
    assert ".symtab" not in headers and ".debug" not in headers
    assert str(ROOT).encode() not in path.read_bytes()
    assert b"/build" not in path.read_bytes()


def test_two_builds_are_equal(directory):
    """The second build is elsewhere, with the same libraries."""
    again = directory / "deep" / "down" / "static"
    again.mkdir(parents=True)
    os.symlink(f"{build_directory()}-libraries", f"{again}-libraries")
    subprocess.run([ROOT / "packaging/build-static", again], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE)
    for name in PROGRAMS:
        assert (again / "src" / name).read_bytes() == (build_directory() / "src" / name).read_bytes()


def test_version_names_the_libraries():
    out = subprocess.run([ackd_binary(), "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
    pins = dict(re.findall(r"^\s+(\w+) ([\d.]+)-\S+ [0-9a-f]{64}$",
                           (ROOT / "packaging/static-libraries").read_text(), re.M))
    assert f"libuv {pins['libuv1']}\n" in out
    assert f"openssl {pins['openssl']}\n" in out
    assert "libsystemd none\n" in out
