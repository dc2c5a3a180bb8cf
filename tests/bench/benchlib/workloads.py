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
    text: str = "ascii"
    frame: str = "line"
    spin: bool = False
    base: str = "epoll_echo"  # the server that ratios refer to
    beside: str = ""  # the workload that they refer to, measured in the same rounds; "": this one

    def client_arguments(self):
        return [
            f"--conns={self.conns}",
            f"--size={self.size}",
            f"--lines={self.lines}",
            f"--text={self.text}",
            f"--frame={self.frame}",
            *(["--tls"] if self.mode == "tls" else []),
            *(["--spin"] if self.spin else []),
            *(["--prefix=Got "] if self.mode.endswith("ack") else []),
        ]


WORKLOADS = [
    Workload("64x1", "64 B x 1", 1, spin=True),
    Workload("64x50", "64 B x 50", 50),
    Workload("64x500", "64 B x 500", 500),
    Workload("64x5000", "64 B x 5,000", 5000),
    Workload("1k-ascii", "1 KiB x 50, ASCII", 50, size=1024),
    Workload("1k-cjk", "1 KiB x 50, CJK", 50, size=1024, text="cjk"),
    Workload("64k-ascii", "64 KiB x 50, ASCII", 50, size=65536),
    Workload("64k-cjk", "64 KiB x 50, CJK", 50, size=65536, text="cjk"),
    Workload("binary", "64 B x 50, binary", 50, mode="binary", text="binary", frame="none"),
    Workload("lines-echo", "16 lines x 64 B pipelined x 50, echo", 50, lines=16, mode="line-echo"),
    Workload("lines-ack", "16 lines x 64 B pipelined x 50, ack", 50, lines=16, mode="ack",
             base="epoll_ack"),
    *(Workload(f"{framing}-{reply}", f"16 {framing} frames x 64 B pipelined x 50, {reply}", 50,
               lines=16, mode=f"{framing}-{reply}", frame=frame, base="ackd",
               beside=f"lines-{reply}")
      for framing, frame in (("delimited", "delimited:1c0d:0b"), ("length", "length:2"))
      for reply in ("echo", "ack")),
    Workload("tls", "64 B x 50, TLS", 50, mode="tls", base="ackd", beside="64x50"),
    Workload("tls-64k", "64 KiB x 50, TLS", 50, size=65536, mode="tls", base="ackd",
             beside="64k-ascii"),
]


def complete(workloads):
    """Returns the workloads with those that the ratios of any of them refer to."""
    names = {name for w in workloads for name in (w.name, w.beside)}
    return [w for w in WORKLOADS if w.name in names]
