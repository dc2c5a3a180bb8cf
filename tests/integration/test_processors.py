"""Processors with fewer instructions than this one, by qemu: ackd chooses its kernel for them."""

import platform

import pytest

from harness import have, run_ackd, sanitizer

QEMU = "qemu-x86_64-static"
TEXT = "".join(map(chr, range(0x20, 0xD800, 7)))


@pytest.mark.parametrize("processor, kernel", [("Nehalem", "scalar"), ("Haswell", "avx2")])
def test_kernel_suits_the_processor(ackd, processor, kernel):
    if platform.machine() != "x86_64" or sanitizer() or not have(QEMU):
        pytest.skip(f"only plain x86-64 programs with {QEMU}")
    emulator = [QEMU, "-cpu", processor]
    assert f"UTF-8 kernel {kernel}\n" in run_ackd("--version", wrapper=emulator).stdout
    daemon = ackd('framing = "line";', wrapper=emulator)
    good, bad = TEXT.encode() + b"\n", TEXT[:999].encode() + b"\xff\n"
    answer = daemon.exchange(good + bad + good)
    assert answer == (
        b"Got " + good + b"NAK %d invalid start byte\n" % (len(good) + len(bad) - 2) + b"Got " + good
    )
    daemon.kill()  # a signal handler of libuv crashes in qemu 7.2, in any program
