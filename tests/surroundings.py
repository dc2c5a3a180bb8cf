"""The environment that tests require, set up independently of who starts them.

Temporary files have short paths of plain characters: the address of a UNIX socket has at most 107
bytes, and some options of tools end at a comma.
"""

import os
import re
import resource
import shutil
import signal
import tempfile

TMPDIR_MAX = 40
DESCRIPTORS_MIN = 4096
SPACE_MIN_MIB = 1024


def complaint(path):
    """Returns why a directory is unsuitable, or None."""
    if not os.path.isdir(path) or not os.access(path, os.W_OK | os.X_OK):
        return "it is not a writable directory"
    if len(path) > TMPDIR_MAX:
        return f"its path has more than {TMPDIR_MAX} characters, too many for UNIX sockets"
    if not re.fullmatch(r"[\w./+-]+", path, re.A):
        return "its path has characters that options of tools cannot contain"
    return None


def raise_descriptors():
    """Raises the limit of open files if permitted. Returns an error text if it stays too low, or None."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < DESCRIPTORS_MIN:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (1024, DESCRIPTORS_MIN))
        except (ValueError, PermissionError):
            return f"the limit of open files is {hard}, and the tests need {DESCRIPTORS_MIN}"
    return None


def lack_of_space(builds):
    """Returns a warning if a directory has less free space than a run takes, or None."""
    for path in builds, tempfile.gettempdir():
        free_mib = shutil.disk_usage(path).free >> 20
        if free_mib < SPACE_MIN_MIB:
            return f"{path} has {free_mib} MiB of free space, and a run takes up to {SPACE_MIN_MIB} MiB"
    return None


def set_up():
    """Sets TMPDIR, a umask that lets other users read files, the limit of open files, and SIGINT.

    Some tests start programs as other users, and some interrupt them; a shell's background jobs ignore
    SIGINT. Returns what was wrong with TMPDIR, or None.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(0o022)
    raise_descriptors()
    given = os.environ.get("TMPDIR")
    wrong = complaint(given) if given else None
    for path in [given if not wrong else None, "/tmp", "/var/tmp", os.getcwd()]:
        if path and not complaint(path):
            os.environ["TMPDIR"] = path
            break
    tempfile.tempdir = None  # it is looked up again
    return f"TMPDIR={given}: {wrong}; using {os.environ['TMPDIR']}" if wrong else None
