"""The test runner: builds every flavour, runs every suite, and counts the cases. See tests/run.

meson and pytest find the tests, limit their time and report them as JUnit. This file plans jobs and
runs them in parallel in lanes. A job has a log in build-tests/logs, and waits for the build that it tests.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

import surroundings

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILDS = TOP / "build-tests"
LOGS = BUILDS / "logs"
LAB = TOP / "tests/systemd/lab"
SUITES = ["build", "unit", "integration", "systemd", "fuzz", "lint", "cross", "bench", "package"]
LONG_SUITES = ["package"]  # with --all, or when named
SHOWN_LINES = 60  # of the log of a job that failed
SKIPPED = 77  # exit status; the last line of the log states the reason
FIGURES = re.compile(r"^(?:stat::number_of_executed|lines:|functions:|branches:).*", re.MULTILINE)

WHOLE = ["-Dsystemd=enabled", "-Dmetrics=enabled"]
BARE = ["-Dsystemd=disabled", "-Dmetrics=disabled"]  # without the optional parts
SANITIZED = [*WHOLE, "-Db_lundef=false"]
# sample: unit tests make one in this many costly comparisons; slower: factor to a plain build.
Flavour = collections.namedtuple("Flavour", "compiler options sample slower")
FLAVOURS = {
    "gcc": Flavour("gcc", WHOLE, 1, 1),
    "sanitize": Flavour("clang", [*SANITIZED, "-Db_sanitize=address,undefined", "-Dfuzz=enabled"], 10, 4),
    "bare": Flavour("gcc", BARE, 10, 1),
    "arm64": Flavour("gcc", [*BARE, f"--cross-file={BUILDS}/cross-arm64/cross.ini"], 10, 10),
    "i386": Flavour("gcc", [*BARE, f"--cross-file={BUILDS}/cross-i386/cross.ini"], 10, 10),
    "clang": Flavour("clang", WHOLE, 1, 1),
    "tsan": Flavour("clang", [*SANITIZED, "-Db_sanitize=thread"], 20, 8),
    # gcc 12 reports memory stored through a pointer as a leak; LeakSanitizer finds the real ones.
    "analyzer": Flavour("gcc", [*WHOLE, "-Dtests=disabled",
                                "-Dc_args=-fanalyzer -Wno-analyzer-malloc-leak"], 1, 1),
    # atomic, because workers share the counters of gcov
    "coverage": Flavour("gcc", [*WHOLE, "-Db_coverage=true", "-Doptimization=0",
                                "-Dc_args=-fprofile-update=atomic"], 10, 6),
    "valgrind": Flavour(None, [], 200, 20),  # uses the programs of the gcc build
}
CROSS = ["arm64", "i386"]
OFTEN = ["gcc", "sanitize", "bare"]
BUILT_WITH_ALL = ["clang", "tsan", "analyzer"]
WHOLE_WITH_ALL = ["sanitize", *CROSS]  # with --all these make all comparisons
BUILD = """[ -z "$prepare" ] || $prepare || { echo "its libraries could not be fetched"; exit 77; }
[ "$(cat "$0/setup" 2>&1)" = "$*" ] || rm -rf "$0"
[ -f "$0/build.ninja" ] || "$@" || exit 1
ninja -C "$0" && printf %s "$*" >"$0/setup" || exit 1
find "$0" -name "*.gcda" -delete # counts of an earlier run"""

# Integration tests of files that are the same in all flavours run only in the first one. The client has
# no optional parts, so the bare flavour does not test it again.
IN_ALL = "not completions and not readme and not quickstart"
SELECTED = {"gcc": [], "bare": ["-k", IN_ALL + " and not ackc_"]}
# The tests under valgrind, where a daemon takes seconds to start: the life cycle of connections and
# daemons, and the client; without crowds, third-party servers and injected faults.
UNDER_VALGRIND = ("activated ackc_ping ackc_send course drain handover limits line log metrics nak "
                  "proxy reload reload_command template workers").split()

# name: (parallel jobs, niceness). Jobs that wait for timeouts have priority over those that compute.
PROCESSORS = max(2, os.cpu_count() or 2)
LANES = {"compute": (PROCESSORS, 10), "integration": (1, 0), "systemd": (2, 0),
         "fuzz": (PROCESSORS, 19), "last": (1, 0)}  # these begin when all others have ended

Case = collections.namedtuple("Case", "name outcome reason", defaults=[""])
# flavour: the required build, or None; read(log, exit status) returns the cases
Job = collections.namedtuple("Job", "name lane command flavour seconds read environment")


# The environment of all jobs: Debian's tools first, and sanitizer errors that end the test.
ENVIRONMENT = {
    **os.environ,
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", ""),
    "LC_ALL": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "ASAN_OPTIONS": "detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


def one_case(name):
    """Returns a reader for jobs that are one case. It prints the figures in the log."""
    def read(log, status):
        for figure in FIGURES.findall(log):
            print(f"      {name}: {figure}")
        return [Case(name, "failed" if status else "passed", f"exit status {status}")]
    return read


def junit_cases(path):
    """Returns a reader for JUnit reports. It prints the figures of record_property()."""
    def read(log, status):
        cases = []
        for suite in xml.etree.ElementTree.parse(path).iter("testsuite") if path.exists() else []:
            # meson omits the output of TAP tests; their comments state the failure
            comments = re.findall(r"^# .*", suite.findtext("system-out") or "", re.MULTILINE)
            for test in suite.iter("testcase"):
                name = test.get("classname").split(".")[-1] + "::" + test.get("name")
                found = next((x for x in test if x.tag in ("failure", "error", "skipped")), None)
                if found is None:
                    cases.append(Case(name, "passed"))
                else:
                    said = filter(None, (found.get("message"), test.findtext("system-out"),
                                         test.findtext("system-err"), found.tag))
                    outcome = "skipped" if found.tag == "skipped" else "failed"
                    cases.append(Case(name, outcome, next(said).strip().split("\n")[0]))
                for figure in test.iter("property"):
                    print(f"      {name}: {figure.get('name')}: {figure.get('value')}")
            if suite.find("testcase/failure") is not None and comments:
                print("\n".join(comments[:SHOWN_LINES]))
        return cases
    return read


def report(job, cases, took, log):
    """Prints one line for the job, and the reasons of cases that did not pass."""
    count = collections.Counter(case.outcome for case in cases)
    verdict = "FAIL" if count["failed"] else "ok" if count["passed"] else "skip"
    said = ", ".join(f"{count[x]} {x}" for x in ("passed", "failed", "skipped") if count[x])
    lines = [f"{verdict:4}  {job.name}: {said} ({took})"]
    reasons = collections.defaultdict(list)
    for case in cases:
        if case.outcome == "failed":
            lines.append(f"      FAILED {case.name}: {case.reason}")
        elif case.outcome == "skipped":
            reasons[case.reason].append(case.name)
    for reason, names in reasons.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"      skipped {names[0]}{more}: {reason}")
    if count["failed"]:
        lines.append(f"      --- the end of {log.relative_to(TOP)}:")
        lines += [f"      {x}" for x in log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]]
    print("\n".join(lines), flush=True)


class Run:
    def __init__(self, options):
        self.options = options
        self.cases = []
        self.jobs = []
        self.builds = {}  # flavour: future of whether it is built
        self.groups = set()  # of running processes

    def kill(self, group):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)

    def run(self, job):
        """Runs a job to its end or its time limit. Returns whether it passed."""
        if job.flavour in self.builds and not self.builds[job.flavour].result():
            return False  # the build is a failed or skipped case already
        log = LOGS / (job.name.replace("/", "-") + ".log")
        niceness = LANES[job.lane][1]
        begin = time.monotonic()
        with open(log, "wb") as output:
            child = subprocess.Popen(job.command, cwd=TOP, env={**ENVIRONMENT, **job.environment},
                                     stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                     start_new_session=True)
        self.groups.add(child.pid)
        with contextlib.suppress(OSError):  # the kernel lacks these groups, or the process has ended
            os.setpriority(os.PRIO_PGRP, child.pid, niceness)
            pathlib.Path(f"/proc/{child.pid}/autogroup").write_text(str(niceness))
        timer = threading.Timer(job.seconds, self.kill, [child.pid])
        timer.start()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status = os.waitstatus_to_exitcode(status)
        timer.cancel()
        self.kill(child.pid)  # processes that the job left running
        self.groups.remove(child.pid)
        text = log.read_text(errors="replace")
        if status == SKIPPED:
            cases = [Case(job.name, "skipped", text.strip().rpartition("\n")[2])]
        else:
            cases = job.read(text, status)
        if not cases or status not in (0, SKIPPED) and all(x.outcome != "failed" for x in cases):
            cases.append(Case(job.name, "failed", f"exit status {status}" if status else "no test"))
        took, used = time.monotonic() - begin, usage.ru_utime + usage.ru_stime
        report(job, cases, f"{took:.0f} s of {job.seconds}, {used:.0f} s of processor time", log)
        self.cases += cases
        return all(case.outcome == "passed" for case in cases)

    def run_all(self):
        pools = {lane: concurrent.futures.ThreadPoolExecutor(n) for lane, (n, _) in LANES.items()}
        try:
            for last in False, True:
                started = []
                for job in self.jobs:
                    if (job.lane == "last") == last:
                        started.append(pools[job.lane].submit(self.run, job))
                        if job.name.startswith("build/"):
                            self.builds[job.name.removeprefix("build/")] = started[-1]
                for future in started:
                    future.result()
        finally:  # after an interrupt as well
            for pool in pools.values():
                pool.shutdown(wait=False, cancel_futures=True)
            for group in list(self.groups):
                self.kill(group)

    def add(self, name, lane, command, flavour, seconds, read=None, variables=None):
        self.jobs.append(Job(name, lane, [str(x) for x in command], flavour, seconds,
                             read or one_case(name), variables or {}))

    def skip(self, name, reason):
        self.add(name, "compute", ["sh", "-c", f'echo "$0"; exit {SKIPPED}', reason],
                 None, 60)

    def wants(self, *suites):
        return any(suite in self.options.suites for suite in suites)

    def install(self, name, *groups):
        """Installs packages that only some runs need. Returns whether they are installed."""
        for group in groups:
            command = [TOP / "packaging/install-missing", group]
            if subprocess.run(command, check=False).returncode != 0:
                self.skip(name, f"what it needs ({group}) could not be installed")
                return False
        return True

    def plan_builds(self):
        tested = [*OFTEN, *["tsan"] * self.options.all, *["coverage"] * self.options.coverage]
        wanted = tested if self.wants("unit", "integration") else []
        wanted = wanted + ["gcc"] if self.wants("systemd", "lint", "bench") else wanted
        wanted = wanted + ["gcc", "sanitize"] if self.wants("fuzz") else wanted
        if self.wants("build"):
            wanted = [*wanted, *OFTEN, *BUILT_WITH_ALL * self.options.all]
        if self.wants("cross") and self.install("cross", "cross"):
            wanted = [*wanted, *CROSS]
        for name in filter(wanted.__contains__, FLAVOURS):
            compiler, options, _, _ = FLAVOURS[name]
            prepare = f"tests/cross/prepare {name} {BUILDS}/cross-{name}" if name in CROSS else ""
            command = ["sh", "-c", BUILD, BUILDS / name, "meson", "setup", "-Dwerror=true",
                       *options, BUILDS / name, TOP]
            lacking = [x for x in (compiler, "meson", "ninja") if not shutil.which(x)]
            if lacking:
                self.skip("build/" + name, f"{lacking[0]} is not installed")
            else:
                self.add("build/" + name, "compute", command, None, 600, None,
                         {"CC": compiler, "prepare": prepare})
        return [name for name in tested if name in wanted]

    def meson(self, name, suite, flavour, lane="compute", build=None, wrapper=()):
        """Adds a job for a suite of meson. @build: the build to test, if not that of @flavour."""
        base = name.replace("/", "-")
        _, _, sample, slower = FLAVOURS[flavour]
        command = ["meson", "test", "-C", BUILDS / (build or flavour), "--no-rebuild", "--suite",
                   suite, "--num-processes", 1, "--print-errorlogs", "--timeout-multiplier", slower,
                   "--logbase", base, *wrapper]
        log = BUILDS / (build or flavour) / "meson-logs" / (
            base + "".join("-" + pathlib.Path(x).name for x in wrapper[1:]) + ".junit.xml")
        log.unlink(missing_ok=True)
        is_whole = self.options.all and flavour in WHOLE_WITH_ALL
        self.add(name, lane, command, build or flavour, min(1500 * slower, 3000), junit_cases(log),
                 {"ACKD_TEST_SAMPLE": str(1 if is_whole else sample)})

    def pytest(self, name, lane, flavour, arguments, prefix=(), build=None, test_seconds=120):
        path = LOGS / (name.replace("/", "-") + ".xml")
        slower = FLAVOURS[flavour].slower
        # twice as slow, because other jobs run in parallel
        variables = {"ACKD_BUILD": str(BUILDS / flavour), "ACKD_TEST_SLOWNESS": str(2 * slower)}
        command = [*prefix, "env", *map("=".join, variables.items()), "/usr/bin/python3", "-B", "-m",
                   "pytest", "-p", "no:cacheprovider", "-q", "--durations=10", f"--junitxml={path}",
                   f"--timeout={test_seconds + 20 * slower}", *arguments]
        self.add(name, lane, command, build or flavour, min(1200 * slower, 3000), junit_cases(path))

    def plan_integration(self, flavours):
        for flavour in flavours:
            selected = SELECTED.get(flavour, ["-k", IN_ALL])
            self.pytest("integration/" + flavour, "integration", flavour,
                        ["-n", 4 * PROCESSORS, *selected, "tests/integration"])
        if self.options.all:
            subprocess.run(["tests/valgrind", "--build", BUILDS / "gcc", BUILDS / "valgrind"],
                           cwd=TOP, check=True)
            files = [f"tests/integration/test_{name}.py" for name in UNDER_VALGRIND]
            self.pytest("integration/valgrind", "integration", "valgrind",
                        ["-n", 2 * PROCESSORS, *files], build="gcc")

    def can_boot(self, suite, *groups):
        """Returns whether the lab can boot for the suite; otherwise the suite is skipped."""
        if os.geteuid() == 0 and not self.install(suite, *groups):
            return False
        boot = subprocess.run([LAB, "run", "--", "true"], check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if boot.returncode != 0:
            said = boot.stdout.strip().rpartition("\n")[2]
            self.skip(suite, f"no systemd can be booted here, which only root may: {said}")
        return boot.returncode == 0

    def plan_fuzz(self):
        self.meson("fuzz/replay", "fuzz", "gcc")
        seconds = self.options.fuzz_seconds
        lane, slow = ("fuzz", 100) if seconds > 60 else ("compute", 10)  # in parallel to all other jobs
        for source in sorted(TOP.glob("tests/fuzz/fuzz_*.c")):
            target = source.stem.removeprefix("fuzz_")
            found = BUILDS / "fuzz" / target
            found.mkdir(parents=True, exist_ok=True)
            command = [BUILDS / "sanitize/tests/fuzz" / source.stem, f"-max_total_time={seconds}",
                       f"-timeout={slow}", "-rss_limit_mb=2048", "-print_final_stats=1",
                       f"-artifact_prefix={found}-", found, source.parent / "corpus" / target]
            self.add("fuzz/" + target, lane, command, "sanitize", seconds + 300)

    def plan(self):
        tested = self.plan_builds()
        prefix = [LAB, "run", "-b", TOP, "--"]
        if self.wants("integration"):
            self.plan_integration(tested)
        if self.wants("systemd") and self.can_boot("systemd", "systemd"):
            for path in sorted(TOP.glob("tests/systemd/test_*.py")):
                name = "systemd/" + path.stem.removeprefix("test_")
                self.pytest(name, "systemd", "gcc", [path], prefix)
            self.meson("systemd/lab", "lab", "gcc", "systemd")
        if self.wants("package") and self.can_boot("package", "systemd", "deb"):
            self.pytest("package", "systemd", "gcc", ["tests/package"], prefix, None, 900)
        if self.wants("lint"):
            self.meson("lint", "lint", "gcc")
        if self.wants("unit"):
            for flavour in tested:
                self.meson("unit/" + flavour, "unit", flavour)
            if self.options.all:
                wrapper = ["--wrap", TOP / "tests/valgrind"]
                self.meson("unit/valgrind", "unit", "valgrind", "compute", "gcc", wrapper)
        if self.wants("cross"):
            for flavour in CROSS:
                self.meson("cross/" + flavour, "unit", flavour)
        if self.wants("fuzz"):
            self.plan_fuzz()
        if self.options.all:
            self.add("soak", "last", ["tests/soak"], "gcc", 3600, None,
                     {"ACKD_BUILD": str(BUILDS / "gcc")})
        if self.wants("bench"):
            self.meson("bench", "bench", "gcc", "last")
        if self.options.coverage:
            for part in "core", "":
                self.add(f"coverage/{part or 'all'}", "last", ["gcovr", "-r", TOP, "-f", f"src/{part}",
                         "-s", BUILDS / "coverage"], "coverage", 600)


def parse_options():
    parser = argparse.ArgumentParser(prog="tests/run")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--fuzz-seconds", type=int)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    options = parser.parse_args()
    if set(options.suites) - set(SUITES):
        parser.error("suites are " + ", ".join(SUITES))
    options.suites = options.suites or [x for x in SUITES if options.all or x not in LONG_SUITES]
    options.fuzz_seconds = options.fuzz_seconds or (600 if options.all else 20)
    return options


def main():
    start = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends all jobs
    wrong = surroundings.set_up()
    print(*[wrong] * bool(wrong), sep="\n", end="")
    test_run = Run(parse_options())
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    for wanted, group in ((test_run.options.all, "long"), (test_run.options.coverage, "coverage")):
        if wanted and not test_run.install(group, group):
            return 1
    if test_run.options.all:
        os.environ["ACKD_TEST_ALL"] = "1"
    test_run.plan()
    test_run.run_all()
    count = collections.Counter(case.outcome for case in test_run.cases)
    print(f"logs in {LOGS.relative_to(TOP)}; {time.monotonic() - start:.0f} s in all")
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    print(f"{count['passed']} passed, {count['failed']} failed{skipped}")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
