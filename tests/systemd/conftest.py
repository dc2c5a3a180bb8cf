"""Installs ackd into the lab, which is removed afterwards."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import service  # noqa: E402  (needs the path)


os.umask(0o022)  # the user of the service must be able to read files of the tests


def pytest_sessionstart(session):
    """Refuses to run outside of the lab, because these tests install, start, stop and purge."""
    if not os.path.exists("/run/systemd-lab"):
        pytest.exit("run these in the lab: meson test --suite systemd", returncode=2)


@pytest.fixture(scope="session", autouse=True)
def installed():
    """Installs with "meson install" alone, as an administrator does."""
    service.CONFIG.unlink(missing_ok=True)  # an existing one would be kept
    return service.run(os.environ.get("ACKD_MESON", "meson"), "install", "--no-rebuild", "-C",
                       os.environ["ACKD_BUILD"], timeout=120).stdout


@pytest.fixture
def names():
    """The units to clean up after a test, which may add more."""
    return ["ackd.socket", "ackd.service"]


@pytest.fixture
def unit(names, installed):
    config = service.CONFIG.read_bytes()
    yield service.Unit("ackd.service")
    service.revert(names, config)


@pytest.fixture
def journal(unit):
    return service.Journal()
