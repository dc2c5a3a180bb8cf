"""Puts what the tests of the service use within reach; the lab is thrown away afterwards."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "systemd"))


os.umask(0o022)  # the service has a user of its own, which must read what a test writes


def pytest_sessionstart(session):
    """Never in the system itself: these tests install, start, stop and purge."""
    if not os.path.exists("/run/systemd-lab"):
        pytest.exit("run these in the lab: meson test --suite package", returncode=2)
