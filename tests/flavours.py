"""The flavours: how each build of ackd is made, and how much of it is tested."""

import collections
import pathlib

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILDS = TOP / "build-tests"
QEMU = "i386 arm64 armhf s390x".split()  # of Debian's architectures; "cross" means all

# Integration tests of files that are the same in all flavours run only in the first one. The client and
# the core have no optional parts, so the bare flavour does not test them again.
IN_ALL = ("not completions and not sessions and not quickstart and not containers and not openrc"
          " and not hand_over_command")
# Under valgrind a daemon takes seconds to start: no crowds, third-party servers and injected faults.
UNDER_VALGRIND = " or ".join(f"test_{name}.py" for name in (
    "activated ackc_ping ackc_send course drain handover limits line log metrics nak proxy reload "
    "reload_command template workers").split())

WHOLE = ["-Dsystemd=enabled", "-Dmetrics=enabled", "-Dtls=enabled"]
# Symbols, the last optimizations, and code that continues after errors take the compiler time.
FAST = ["-Ddebug=false", "-Doptimization=1"]
# Without optional parts, and with the files for systems that are not Linux.
BARE = ["-Dsystemd=disabled", "-Dmetrics=disabled", "-Dtls=disabled", "-Dportable=true", *FAST]
SANITIZED = [*WHOLE, *FAST, "-Db_lundef=false", "-Dc_args=-gline-tables-only -fno-sanitize-recover=all"]
# sample: one in N costly comparisons, without --all; slower: than a plain build; selected: of pytest -k
Flavour = collections.namedtuple("Flavour", "compiler options sample slower selected", defaults=[IN_ALL])
FLAVOURS = {
    "gcc": Flavour("gcc", WHOLE, 10, 1, ""),
    "sanitize": Flavour("clang", [*SANITIZED, "-Db_sanitize=address,undefined", "-Dfuzz=enabled"], 40, 4),
    "bare": Flavour("gcc", BARE, 10, 1, IN_ALL + " and not (ackc_ or test_text.py or test_template.py)"),
    **{x: Flavour("gcc", [*WHOLE, *FAST, f"--cross-file={BUILDS}/cross-{x}/cross.ini"],
                  100, 4, "handover.py or line.py or reload.py or restart.py") for x in QEMU},
    "windows": Flavour("x86_64-w64-mingw32-gcc", ["-Dtls=enabled", "-Ddebug=false", *(
        f"--cross-file={BUILDS}/cross-windows/{x}.ini" for x in ("meson", "cross"))], 40, 4, "ackc_"),
    **{x: Flavour("clang", ["-Dtests=disabled", f"--cross-file={BUILDS}/cross-{x}/cross.ini"], 1, 1)
       for x in ("freebsd", "macos")},  # only built
    "static": Flavour("musl-gcc", [], 10, 1),  # by packaging/build-static
    "clang": Flavour("clang", WHOLE, 1, 1),
    "tsan": Flavour("clang", [*SANITIZED, "-Db_sanitize=thread"], 20, 8),
    # gcc 12 reports memory stored through a pointer as a leak; LeakSanitizer finds the real ones.
    "analyzer": Flavour("gcc", [*WHOLE, "-Dtests=disabled",
                                "-Dc_args=-fanalyzer -Wno-analyzer-malloc-leak"], 1, 1),
    # atomic, because workers share the counters of gcov
    "coverage": Flavour("gcc", [*WHOLE, "-Db_coverage=true", "-Doptimization=0",
                                "-Dc_args=-fprofile-update=atomic"], 10, 6),
    "valgrind": Flavour(None, [], 200, 20, UNDER_VALGRIND),  # uses the programs of the gcc build
}
