"""Good clients beside bad ones: what tests/bench/crowd and tests/bench/handshakes share.

Bad clients run in a process of their own, on the processor of the good ones.
"""

import contextlib
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile

from benchlib import measure, peers as peerlib

LATENCIES = ("p50", "p99", "p99_9")


def add_arguments(parser):
    parser.add_argument("--build", metavar="DIR", help="meson build directory (made if missing; "
                        "default: build-bench beside the sources)")
    parser.add_argument("--no-build", action="store_true", help="use the existing build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--good", type=int, default=100, help="good clients")
    parser.add_argument("--rate", type=int, default=5000, help="messages a second, of all of them")
    parser.add_argument("--json", metavar="FILE", help="write every figure")


def build(top, directory):
    if not os.path.exists(os.path.join(directory, "build.ninja")):
        subprocess.run(["meson", "setup", directory, top], check=True, stdout=sys.stderr)
    subprocess.run(["ninja", "-C", directory, "all", "bench-peers"], check=True, stdout=sys.stderr)


def bad_process(pipe, run, cpu, niceness):
    os.sched_setaffinity(0, {cpu})
    os.nice(niceness)
    try:
        pipe.send(("good", run(pipe)))
    except (measure.BenchError, OSError) as error:
        pipe.send((str(error), None))


@contextlib.contextmanager
def bad_clients(run, cpu, niceness=0):
    """Calls run(pipe) in a process. Yields when it has sent "ready"; at the end it is sent "end". Yields a
    list, to which its result is then appended."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    process = fork.Process(target=bad_process, args=(theirs, run, cpu, niceness))
    process.start()
    theirs.close()
    results = []
    try:
        said = ours.recv()
        if said != "ready":
            raise measure.BenchError(f"bad clients: {said[0]}")
        yield results
        ours.send("end")
        said, result = ours.recv()
        if said != "good":
            raise measure.BenchError(f"bad clients: {said}")
        results.append(result)
    finally:
        process.terminate()
        process.join()


def good_clients(bench, port, arguments, *more):
    """Returns the report of "ackc load", with @more arguments."""
    done = subprocess.run(["taskset", "-c", str(bench.client_cpu), bench.ackc, "load", "--json", "-q",
                           "-c", str(arguments.good), "-r", str(arguments.rate),
                           "-d", str(arguments.seconds), "--prefix", "", *more, "127.0.0.1",
                           str(port)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
                          check=False)
    if done.returncode != 0:
        raise measure.BenchError(f"ackc load: exit status {done.returncode}: "
                                 + (done.stderr + done.stdout).strip()[-300:])
    return json.loads(done.stdout.splitlines()[-1])


def measure_rounds(top, arguments, names, conditions, measure_one):
    """Calls measure_one(bench, peer, condition), which returns figures, for each of the servers @names in
    turns. Returns a list of {(server, condition): figures}, or None after a failure."""
    directory = os.path.abspath(arguments.build or os.path.join(top, "build-bench"))
    if not arguments.no_build:
        build(top, directory)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    found = {peer.name: peer for peer in peerlib.find_peers(directory)}
    for name in names:
        if found[name].missing:
            print(f"without {name}: {found[name].missing}")
    servers = [found[name] for name in names if not found[name].missing]
    cpus = sorted(os.sched_getaffinity(0))
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    rounds = []
    with tempfile.TemporaryDirectory(prefix="ackd-bench-") as scratch:
        bench = measure.Bench(directory, scratch, cpus[0], cpus[-1], found)
        try:
            for number in range(arguments.rounds):
                rounds.append({(peer.name, condition): measure_one(bench, peer, condition)
                               for condition in conditions for peer in servers})
                print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
        except (measure.BenchError, subprocess.SubprocessError, OSError, EOFError) as error:
            print(f"failed: {error}")
            return None
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump([[{"server": server, "condition": condition, **figures}
                        for (server, condition), figures in row.items()] for row in rounds], file,
                      indent=1)
    return rounds


def median(rounds, server, condition, key):
    return statistics.median(row[server, condition][key] for row in rounds)
