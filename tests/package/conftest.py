"""Makes the helpers of tests/systemd importable; the lab is removed afterwards."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "systemd"))


os.umask(0o022)  # the user of the service must be able to read files of the tests


def pytest_sessionstart(session):
    """Refuses to run outside of the lab, because these tests install, start, stop and purge."""
    if not os.path.exists("/run/systemd-lab"):
        pytest.exit("run these in the lab: meson test --suite package", returncode=2)
