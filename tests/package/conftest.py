"""Puts what the tests of the service use within reach; the lab is thrown away afterwards."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "systemd"))


def pytest_sessionstart(session):
    """Never in the system itself: these tests install, start, stop and purge."""
    if not os.path.exists("/run/systemd-lab"):
        pytest.exit("run these in the lab: meson test --suite package", returncode=2)
