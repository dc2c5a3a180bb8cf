"""Installation according to README.md."""

import os
import pathlib
import re
import shutil

import pytest

from service import CONFIG, exchange, run

TOP = pathlib.Path(__file__).resolve().parents[2]
UNIT_TEST_LIBRARY = ["libcmocka-dev", "libcmocka0"]


@pytest.fixture
def checkout(tmp_path):
    """A copy of the sources without build directories."""
    def built(directory, names):
        at_top = pathlib.Path(directory) == TOP
        return [n for n in names if n in ("__pycache__", ".git")
                or at_top and n.startswith("build")]

    return shutil.copytree(TOP, tmp_path / "ackd", ignore=built, symlinks=True)


def test_install_command_of_the_readme(unit, checkout):
    """It works without the unit-test library and keeps an existing configuration."""
    run("dpkg", "--purge", "--force-depends", *UNIT_TEST_LIBRARY)
    CONFIG.write_text('ack_prefix = "mine ";\n')
    line, = re.findall(r"^    (meson setup build .*meson install.*)$",
                       (TOP / "README.md").read_text(), re.M)
    # A root shell may have no sudo. Other tests have optimized builds.
    fast = "" if "ACKD_TEST_ALL" in os.environ else "export CFLAGS='-O0 -Wno-cpp'\n"
    run("sh", "-ec", f'{fast}sudo() {{ "$@"; }}\n{line}', cwd=checkout, timeout=600)
    unit.start()
    assert exchange(b"x") == b"mine x"
    meson = os.environ.get("ACKD_MESON", "meson")
    for options, advice in ((), "packaging/install-missing test"), \
            (("-Dtests=disabled",), f"meson configure {checkout}/build -Dtests=auto"):
        if options:
            run(meson, "configure", checkout / "build", *options)
            run("ninja", "-C", checkout / "build", "build.ninja", timeout=120)
        said = run(meson, "test", "-C", checkout / "build", "--no-rebuild", "--suite", "unit").stdout
        assert re.search(rf"no .*tests.*{re.escape(advice)}.* SKIP", said), said
