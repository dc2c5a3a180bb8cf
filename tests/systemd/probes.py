#!/usr/bin/python3
"""Tries operations that the sandbox of ackd.service forbids: one function per setting.

Usage: probes.py [NAME...]; prints {NAME: whether it succeeded} as JSON. Each probe runs in its own
process, because some settings kill a process that violates them.
"""

import ctypes
import json
import mmap
import os
import pathlib
import platform
import signal
import socket
import sys
import tempfile
import traceback

# The test creates these paths; each represents a location that the sandbox hides.
MARKED = {
    "home": pathlib.Path("/root/ackd-probe"),
    "tmp": pathlib.Path("/tmp/ackd-probe"),
    "modules": pathlib.Path("/usr/lib/modules/ackd-probe"),
    "device": pathlib.Path("/dev/ackd-probe"),
}
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUTS = 0x04000000
PER_LINUX32 = 8
SYSLOG_ACTION_SIZE_BUFFER = 10
KEYCTL = {"x86_64": 250, "aarch64": 219}
KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING = 6, -3


def checked(result):
    """Converts an error of a libc function to an exception."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def status(field):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return line.split()[1]


def be_root():
    return os.getuid() == 0


def have_capabilities():
    return int(status("CapBnd"), 16) != 0


def gain_privileges():
    return status("NoNewPrivs") == "0"


def change_personality():
    checked(LIBC.personality(PER_LINUX32))
    return True


def run_what_it_wrote():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    return True


def take_the_processor():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return True


def make_setuid_file():
    with tempfile.NamedTemporaryFile() as file:
        os.fchmod(file.fileno(), 0o4755)
    return True


def make_namespace():
    checked(LIBC.unshare(CLONE_NEWUTS))
    return True


def use_netlink():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()
    return True


def use_32_bit_calls():
    """getpid() of i386: mov eax, 20; int 0x80; ret."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid()


def debug():
    checked(LIBC.ptrace(0, 0, None, None))  # PTRACE_TRACEME
    return True


def change_priority():
    os.setpriority(os.PRIO_PROCESS, 0, 1)
    return True


def die_of_a_forbidden_call():
    """The test forbids ptrace()."""
    child = os.fork()
    if child == 0:
        LIBC.ptrace(0, 0, None, None)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def make_files_for_others():
    return os.umask(0) != 0o077


def share_keys():
    """Returns whether the session keyring is not private to this service (named _ses)."""
    text = ctypes.create_string_buffer(256)
    checked(LIBC.syscall(KEYCTL[platform.machine()], KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING,
                         text, len(text)))
    return not text.value.endswith(b";_ses")


def open_device():
    os.close(os.open(MARKED["device"], os.O_RDONLY | os.O_NONBLOCK))
    return True


def see_device():
    return MARKED["device"].exists()


def mount_for_others():
    return os.readlink("/proc/self/ns/mnt") == os.readlink("/proc/1/ns/mnt")


def see_tmp():
    return MARKED["tmp"].exists()


def know_other_users():
    """Returns whether every user exists in the user namespace."""
    return pathlib.Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def write_to_the_system():
    with tempfile.NamedTemporaryFile(dir="/var/lib"):
        return True


def write_to_run():
    with tempfile.NamedTemporaryFile(dir="/run/lock"):
        return True


def see_home():
    return MARKED["home"].exists()


def see_processes_of_others():
    return os.path.exists("/proc/1/status")


def see_the_kernel():
    return os.path.exists("/proc/meminfo")


def touch_the_clock():
    """Only reads, which needs no capability."""
    return checked(LIBC.adjtimex(ctypes.create_string_buffer(1024))) >= 0


def set_hostname():
    socket.sethostname(socket.gethostname())
    return True


def make_cgroup():
    path = pathlib.Path("/sys/fs/cgroup/ackd-probe")
    path.mkdir()
    path.rmdir()
    return True


def read_the_kernel_log():
    return checked(LIBC.klogctl(SYSLOG_ACTION_SIZE_BUFFER, None, 0)) > 0


def see_modules():
    return MARKED["modules"].exists()


def write_to_the_kernel():
    """Only opens the file; writing would change the system."""
    os.close(os.open("/proc/irq/default_smp_affinity", os.O_WRONLY))
    return True


PROBES = {name: value for name, value in list(globals().items())
          if callable(value) and getattr(value, "__module__", None) == __name__
          and name not in ("checked", "status")}


def could(probe):
    """Runs the probe in a child. A fatal signal or an OSError counts as failure."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if probe() else 1)
        except OSError:
            os._exit(1)
        except BaseException:
            traceback.print_exc()
        os._exit(2)
    waited = os.waitpid(child, 0)[1]
    if os.WIFEXITED(waited) and os.WEXITSTATUS(waited) == 2:
        sys.exit(f"the probe {probe.__name__} does not work")
    return waited == 0


def main():
    signal.alarm(20)
    print(json.dumps({name: could(PROBES[name]) for name in sys.argv[1:] or PROBES}))


if __name__ == "__main__":
    main()
