"""packaging/quickstart with faulty machines and checkouts: one line states the solution.

The tests build nothing: build/ has the programs of the build under test, and an empty ninja file.
"""

import os
import shutil
import subprocess

import pytest

from harness import ROOT, SOON, build_directory, environment, free_port, have

DONE = "quickstart: done: ackd was built, answered as it should, and stopped cleanly."


@pytest.fixture
def checkout(tmp_path):
    if not have("meson", "ninja", "nc"):
        pytest.skip("quickstart would install meson, ninja or nc")
    top = tmp_path / "checkout"
    for name in "packaging", "conf":
        shutil.copytree(ROOT / name, top / name)
    for name in "ackd", "ackc":
        program = top / "build/src" / name / name
        program.parent.mkdir(parents=True)
        program.symlink_to(build_directory() / "src" / name / name)
    (top / "build/build.ninja").write_text("build all: phony\n")
    return top


def quickstart(checkout, *wrapper, **variables):
    """Returns the exit status and the last line of the output."""
    done = subprocess.run([*wrapper, str(checkout / "packaging/quickstart"), str(free_port())],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, timeout=2 * SOON, check=False,
                          env=environment({**variables}))
    print(done.stdout)
    assert done.stdout.count("quickstart: FAILED: ") == (done.returncode != 0)
    return done.returncode, done.stdout.splitlines()[-1]


def test_success_is_reported(checkout):
    assert quickstart(checkout) == (0, DONE)


def test_unusable_tmpdir_is_reported(checkout):
    said = quickstart(checkout, TMPDIR="/nonexistent")
    assert said == (1, "quickstart: FAILED: cannot create a file in /nonexistent: "
                       "set TMPDIR to a directory that you can write to")


@pytest.mark.parametrize("broken", ["file", "empty", "garbage", "other"])
def test_broken_build_directory_is_reported(checkout, broken):
    build = checkout / "build"
    if broken == "file":
        shutil.rmtree(build)
        build.write_text("")
    elif broken == "empty":  # fails, because the sources are missing
        (build / "build.ninja").unlink()
    elif broken == "garbage":
        (build / "build.ninja").write_text("!\n")
    else:  # it builds something, but no ackd
        shutil.rmtree(build / "src")
    status, last = quickstart(checkout)
    assert status == 1
    assert last.startswith("quickstart: FAILED: ") and str(build) in last and "remove" in last


def test_read_only_checkout_is_reported(checkout):
    shutil.rmtree(checkout / "build")
    if os.geteuid() == 0:
        wrapper = ["unshare", "-m", "sh", "-ec",
                   f'mount --bind -o ro {checkout} {checkout}; exec "$@"', "sh"]
        if subprocess.run([*wrapper, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
            pytest.skip("no mount namespaces here")
    else:
        wrapper = []
        checkout.chmod(0o555)
    try:
        said = quickstart(checkout, *wrapper)
    finally:
        checkout.chmod(0o755)
    assert said == (1, f"quickstart: FAILED: {checkout} cannot be written to: "
                       "copy the checkout to where you can")


def test_missing_loopback_interface_is_reported(checkout):
    wrapper = ["unshare", "--net"]
    if subprocess.run([*wrapper, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no network namespaces here")
    assert quickstart(checkout, *wrapper) == \
        (1, "quickstart: FAILED: ackd listens, but 127.0.0.1 cannot be reached: turn the loopback "
            "interface on (ip link set lo up)")
