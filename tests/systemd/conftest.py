"""Installs ackd into the lab, which is thrown away with it."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import service  # noqa: E402  (needs the path)


os.umask(0o022)  # the service has a user of its own, which must read what a test writes


def pytest_sessionstart(session):
    """Never in the system itself: these tests install, start, stop and purge."""
    if not os.path.exists("/run/systemd-lab"):
        pytest.exit("run these in the lab: meson test --suite systemd", returncode=2)


@pytest.fixture(scope="session", autouse=True)
def installed():
    """As an administrator does it; nothing else is done to make the service work."""
    service.CONFIG.unlink(missing_ok=True)  # one of the machine, which would be kept
    return service.run(os.environ.get("ACKD_MESON", "meson"), "install", "--no-rebuild", "-C",
                       os.environ["ACKD_BUILD"], timeout=120).stdout


@pytest.fixture
def names():
    """The units that a test uses, for the cleaning up; it may add to them."""
    return ["ackd.socket", "ackd.service"]


@pytest.fixture
def unit(names, installed):
    config = service.CONFIG.read_bytes()
    yield service.Unit("ackd.service")
    service.revert(names, config)


@pytest.fixture
def journal(unit):
    return service.Journal()
