"""Recomputes the tables of ackd-scaling(7) from its basic figures."""

import re

import pytest

from harness import ROOT

PAGE = (ROOT / "man/ackd-scaling.7").read_text()


def number(pattern):
    found = re.search(pattern, PAGE)
    assert found, pattern
    return float(found[1].replace(",", ""))


CPU_US = number(r"CPU time for a message [^\n]* Ta ([\d.]+) us\n")
ACKD_BYTES = number(r"memory of a connection, ackd Ta ([\d,]+) B\n")
KERNEL_BYTES = number(r"memory of a connection, kernel Ta ([\d,]+) B\n")
IN_BYTES = number(r"message of 64 \+ 90 = (\d+) bytes") + number(r"acknowledgement of (\d+) bytes")
OUT_BYTES = number(r"reply of 68 \+ 90 = (\d+) bytes")
EVERY_S = number(r"64 bytes every (\d+) seconds")

SCALE = {"": 1, "million": 1e6, "MB": 1e6, "GB": 1e9, "Mbit/s": 1e6, "Gbit/s": 1e9}


def row(name):
    cells = re.search(rf"^\.It {name} Ta (.* Ta .* Ta .*)$", PAGE, re.M)[1].split(" Ta ")
    values = []
    for cell in cells:
        text, _, unit = cell.partition(" ")
        values.append((float(text.replace(",", "")) * SCALE[unit], cell))
    return values


@pytest.mark.parametrize(
    "name, of_rate, of_clients",
    [
        ("messages a second", 1, 0),
        ("packets a second in", 2, 0),
        ("packets a second out", 1, 0),
        ("bandwidth in", IN_BYTES * 8, 0),
        ("bandwidth out", OUT_BYTES * 8, 0),
        ("memory", 0, ACKD_BYTES + KERNEL_BYTES),
        ("CPUs", 2 * CPU_US / 1e6, 0),
    ],
)
def test_table_of_the_manual_is_correct(name, of_rate, of_clients):
    for clients, (value, cell) in zip((1e4, 1e6, 1e8), row(name), strict=True):
        expected = clients / EVERY_S * of_rate + clients * of_clients
        assert value == pytest.approx(expected, rel=0.1 if value < 0.1 else 0.03), cell
