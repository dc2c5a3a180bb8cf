"""The workloads."""

from dataclasses import dataclass


@dataclass
class Workload:
    name: str
    title: str
    conns: int
    size: int = 64
    lines: int = 1
    mode: str = "echo"
    cjk: bool = False
    spin: bool = False
    base: str = "epoll_echo"

    def client_arguments(self):
        return [
            f"--conns={self.conns}",
            f"--size={self.size}",
            f"--lines={self.lines}",
            *(["--cjk"] if self.cjk else []),
            *(["--spin"] if self.spin else []),
            *(["--prefix=Got "] if self.mode == "ack" else []),
        ]


WORKLOADS = [
    Workload("64x1", "64 B x 1", 1, spin=True),
    Workload("64x50", "64 B x 50", 50),
    Workload("64x500", "64 B x 500", 500),
    Workload("64x5000", "64 B x 5,000", 5000),
    Workload("1k-ascii", "1 KiB x 50, ASCII", 50, size=1024),
    Workload("1k-cjk", "1 KiB x 50, CJK", 50, size=1024, cjk=True),
    Workload("64k-ascii", "64 KiB x 50, ASCII", 50, size=65536),
    Workload("64k-cjk", "64 KiB x 50, CJK", 50, size=65536, cjk=True),
    Workload("lines-echo", "16 lines x 64 B pipelined x 50, echo", 50, lines=16, mode="line-echo"),
    Workload("lines-ack", "16 lines x 64 B pipelined x 50, ack", 50, lines=16, mode="ack",
             base="epoll_ack"),
]
