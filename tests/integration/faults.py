"""The control block of shims/faults.c: the faults to inject into a preloaded daemon."""

import mmap
import os
import pathlib
import signal
import struct
import subprocess
import tempfile

from harness import wait_until

FIELDS = (
    "accept_errno",
    "accept_calls",
    "write_max",
    "write_again",
    "write_calls",
    "read_max",
    "read_again",
    "read_calls",
    "clock_offset_s",
    "alloc_fail",
    "alloc_calls",
    "alloc_outcome",
    "lookup_hangs",
    "lookup_calls",
    "delay_us",
    "pass_errno",
    "send_errno",
    "poll_fail",
    "poll_calls",
    "turn_sent_max",
    "lookup_finds",
)
SOURCE = pathlib.Path(__file__).parent / "shims/faults.c"


def build(directory):
    """Compiles the shim; returns its path."""
    library = pathlib.Path(directory) / "faults.so"
    command = os.environ.get("CC", "cc").split()
    command += ["-D_GNU_SOURCE", "-std=c17", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra"]
    command += ["-Wno-unused-parameter", "-Werror", "-shared-libgcc"]
    subprocess.run([*command, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


class Faults:
    """The attributes are the fields of the control block, accessible while the daemon runs."""

    def __init__(self, library):
        self.file = tempfile.NamedTemporaryFile(prefix="ackd-faults-")
        self.file.truncate(8 * len(FIELDS))
        self.map = mmap.mmap(self.file.fileno(), 8 * len(FIELDS))
        self.library = library

    def environment(self):
        """Returns the environment for the daemon."""
        return {
            "LD_PRELOAD": str(self.library),
            "ACKD_FAULTS": self.file.name,
            # The shim comes first on purpose.
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0",
        }

    def __getattr__(self, name):
        if name in FIELDS:
            return struct.unpack_from("q", self.map, 8 * FIELDS.index(name))[0]
        raise AttributeError(name)

    def __setattr__(self, name, value):
        if name in FIELDS:
            struct.pack_into("q", self.map, 8 * FIELDS.index(name), value)
        else:
            super().__setattr__(name, value)

    def close(self):
        self.map.close()
        self.file.close()


class Draining:
    """In this context ackd reads nothing; at its end all workers drain, with the data received."""

    def __init__(self, daemon, faults):
        self.daemon = daemon
        self.faults = faults

    def __enter__(self):
        self.faults.read_again = 1 << 60

    def __exit__(self, *_):
        self.daemon.signal(signal.SIGTERM)
        wait_until(self.refuses, "all workers to drain")
        self.faults.read_again = 0

    def refuses(self):
        try:
            self.daemon.connect().close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass
        return False
