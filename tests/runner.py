"""The test run: builds every flavour, runs every suite, adds up the cases. See tests/run.

Suites are found, not listed: unit and fuzz tests from meson, integration tests by pytest, checks of
the house rules from the TAP that tests/lint prints. As many jobs run at a time as keep the
processors busy, each with its output in build-tests/logs and a time limit.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

import surroundings

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILDS = TOP / "build-tests"
LOGS = BUILDS / "logs"
LAB = str(TOP / "tests/systemd/lab")
SUITES = ["build", "unit", "integration", "systemd", "fuzz", "lint", "cross", "bench", "package"]
LONG_SUITES = ["package"]  # with --all, or when named
SHOWN_LINES = 60  # of the output of a job that failed

WHOLE = ["-Dsystemd=enabled", "-Dmetrics=enabled"]
BARE = ["-Dsystemd=disabled", "-Dmetrics=disabled"]
SANITIZE = [*WHOLE, "-Db_lundef=false", "-Db_sanitize=address,undefined", "-Dfuzz=enabled"]
# name: (compiler, options of meson, slower than a plain build by at most)
FLAVOURS = {
    "gcc": ("gcc", WHOLE, 1),
    "clang": ("clang", WHOLE, 1),
    "bare": ("gcc", BARE, 1),  # without what is optional
    "sanitize": ("clang", SANITIZE, 4),
    "tsan": ("clang", [*WHOLE, "-Db_lundef=false", "-Db_sanitize=thread"], 8),
    # gcc 12 takes for a leak what was stored through a pointer; LeakSanitizer finds the real ones.
    "analyzer": ("gcc", [*WHOLE, "-Dc_args=-fanalyzer -Wno-analyzer-malloc-leak", "-Dtests=disabled"], 1),
    "arm64": ("gcc", [*BARE, f"--cross-file={BUILDS}/cross-arm64/cross.ini"], 10),
    "i386": ("gcc", [*BARE, f"--cross-file={BUILDS}/cross-i386/cross.ini"], 10),
    # Workers share the counters of gcov.
    "coverage": ("gcc", [*WHOLE, "-Db_coverage=true", "-Doptimization=0",
                         "-Dc_args=-fprofile-update=atomic"], 6),
}

Case = collections.namedtuple("Case", "name outcome reason", defaults=[""])
# load: how many processors it keeps busy. Jobs that only compute are nice to those that measure.
Job = collections.namedtuple("Job", "name command read_cases limit_seconds environment load nice",
                             defaults=[{}, 1, 10])

# Integration tests mostly wait: for time-outs, for daemons that start, for other programs.
WAITING = {"load": 0.25, "nice": 0}

# The costly comparisons of texts and sessions are made in full by the plain build, and with --all by
# the sanitizers and the emulated processor; the other flavours make one in so many.
SAMPLES = {"bare": 10, "sanitize": 10, "arm64": 10, "i386": 10, "tsan": 20, "coverage": 10, "valgrind": 200}
CROSS_FLAVOURS = ["arm64", "i386"]
WHOLE_WITH_ALL = ["sanitize", *CROSS_FLAVOURS]

# What runs under valgrind, where a daemon takes seconds to start: the whole life of connections and
# of daemons, and the client; not the crowds, the servers of others and the faults injected.
UNDER_VALGRIND = ["activated", "ackc_ping", "ackc_send", "course", "drain", "handover", "limits",
                  "line", "log", "metrics", "nak", "proxy", "reload", "reload_command", "template",
                  "workers"]
VALGRIND_SLOWNESS = 20
# "Possibly lost" is what belongs to a thread that still runs when the process ends: libuv's.
VALGRIND = ("valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect"
            f" --errors-for-leak-kinds=definite,indirect --suppressions={TOP}/tests/valgrind.supp")


def environment(extra):
    """Returns the environment of a job: Debian's tools first, and faults that end the test."""
    return {
        **os.environ,
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", ""),
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CMOCKA_MESSAGE_OUTPUT": "TAP",
        "ASAN_OPTIONS": "detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
        **extra,
    }


def start(job, output):
    """Starts a job in a session of its own, with its niceness to other processes and sessions."""
    child = subprocess.Popen(job.command, cwd=TOP, env=environment(job.environment),
                             stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                             start_new_session=True)
    with contextlib.suppress(OSError):  # no such groups in this kernel; or it has ended already
        os.setpriority(os.PRIO_PGRP, child.pid, job.nice)
        pathlib.Path(f"/proc/{child.pid}/autogroup").write_text(str(job.nice))
    return child


def wait(child, seconds):
    """Waits for its end. Returns the seconds of processor time that it took, or None: it goes on."""
    deadline = time.monotonic() + seconds
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        if time.monotonic() > deadline:
            return None
        time.sleep(0.05)


def kill(child):
    """With all that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run(job):
    """Runs a job to its end or its time limit. Returns (its cases, what it took, its log's path)."""
    log = LOGS / (job.name.replace("/", "-") + ".log")
    begin = time.monotonic()
    trouble = None
    with open(log, "wb") as output:
        child = start(job, output)
        try:
            used = wait(child, job.limit_seconds)
        finally:
            kill(child)
        if used is None:
            trouble = f"still running after {job.limit_seconds:.0f} s"
            used = wait(child, 60) or 0
        elif child.returncode != 0:
            trouble = f"exit status {child.returncode}"
    cases = job.read_cases(log.read_text(errors="replace"), trouble)
    if trouble and not any(case.outcome == "failed" for case in cases):
        cases.append(Case(job.name, "failed", trouble))
    if not cases:
        cases.append(Case(job.name, "failed", "it ran no test"))
    return cases, f"{time.monotonic() - begin:.0f} s, {used:.0f} s of processor time", log


def own_network():
    """Returns what to put before a command so that it has a loopback, and ports, of its own.

    Only root may. Others share the machine's, where tests of fixed ports must not run together.
    """
    prefix = ["unshare", "--net", "sh", "-ec", 'ip link set lo up; exec "$@"', "sh"]
    try:
        done = subprocess.run([*prefix, "true"], env=environment({}), stderr=subprocess.DEVNULL,
                              stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        return []
    return prefix if done.returncode == 0 else []


def one_case(name):
    """The whole job is one case."""
    return lambda output, trouble: [Case(name, "failed" if trouble else "passed", trouble or "")]


def tap_cases(output, prefix=""):
    """Reads TAP. cmocka says `not ok N # SKIP name`; what the test printed before is the reason."""
    cases = []
    said = ""
    for line in output.splitlines():
        match = re.match(r"(not )?ok \d+ (?:- )?(.*?)(?:\s*# SKIP (.*))?$", line)
        if not match:
            said = line if line and line[0] not in "#1" else said
            continue
        failed, name, skip = match.groups()
        if skip is not None:
            name, skip = (name, skip) if name else (skip, said or "no reason given")
            cases.append(Case(prefix + name, "skipped", skip))
        else:
            cases.append(Case(prefix + name, "failed" if failed else "passed"))
        said = ""
    return cases


def meson_cases(path, output, trouble):
    """Reads meson's testlog: each test's TAP cases, or the test itself as one case."""
    cases = []
    if not path.exists():
        return cases
    for line in path.read_text().splitlines():
        test = json.loads(line)
        text = test.get("stdout", "") + test.get("stderr", "")
        found = tap_cases(test.get("stdout", ""), test["name"] + ": ")
        good = test["result"] in ("OK", "EXPECTEDFAIL")
        if test["result"] == "SKIP":
            found = found or [Case(test["name"], "skipped", text.strip() or "no reason given")]
        elif not found or not good and all(case.outcome != "failed" for case in found):
            found.append(Case(test["name"], "passed" if good else "failed",
                              "" if good else test["result"].lower()))
        cases += found
        tell(re.findall(r"^(?:# )?(.*\brows\b.*|a sample of .*)$", text, re.MULTILINE), test["name"])
    return cases


def junit_cases(path, output, trouble):
    """Reads the report of pytest; what tests recorded with record_property() is told."""
    cases = []
    if not path.exists():
        return cases
    for test in xml.etree.ElementTree.parse(path).iter("testcase"):
        name = test.get("classname", "").split(".")[-1] + "::" + test.get("name", "")
        skip = test.find("skipped")
        fault = test.find("failure") if test.find("failure") is not None else test.find("error")
        if fault is not None:
            cases.append(Case(name, "failed", fault.get("message", "").split("\n")[0]))
        elif skip is not None:
            cases.append(Case(name, "skipped", skip.get("message") or "no reason given"))
        else:
            cases.append(Case(name, "passed"))
        tell([f"{p.get('name')}: {p.get('value')}" for p in test.iter("property")], name)
    return cases


def tell(lines, about=""):
    for line in lines:
        print(f"      {about + ': ' if about else ''}{line}", flush=True)


def report(job_name, cases, took, log):
    """Prints one line for the job, and what there is to say of cases that did not pass."""
    count = collections.Counter(case.outcome for case in cases)
    verdict = "FAIL" if count["failed"] else "skip" if not count["passed"] else "ok"
    numbers = ", ".join(f"{count[x]} {x}" for x in ("passed", "failed", "skipped") if count[x])
    print(f"{verdict:4}  {job_name}: {numbers} ({took})", flush=True)
    reasons = collections.defaultdict(list)
    for case in cases:
        if case.outcome == "failed":
            print(f"      FAILED {case.name}{': ' + case.reason if case.reason else ''}")
        elif case.outcome == "skipped":
            reasons[case.reason].append(case.name)
    for reason, names in reasons.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(f"      skipped {names[0]}{more}: {reason}")
    if count["failed"]:
        print(f"      --- the end of {log.relative_to(TOP)}:")
        for line in log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]:
            print(f"      {line}")
    sys.stdout.flush()


class Run:
    def __init__(self, options):
        self.options = options
        self.cases = []
        self.own_network = own_network()
        self.broken = set()  # flavours that are not built

    def note(self, job, outcome):
        cases, took, log = outcome
        report(job.name, cases, took, log)
        self.cases += cases

    def do(self, jobs, background=()):
        """Runs jobs, started in the order given, while what they load is no more than there is.

        Those in the background, one a processor, take what the others leave.
        """
        processors = max(2, os.cpu_count() or 2)
        ahead, behind = list(jobs), list(background)
        running = {}

        def begin(job, waiting):
            waiting.remove(job)
            running[pool.submit(run, job)] = job

        with concurrent.futures.ThreadPoolExecutor(len(ahead) + len(behind) + 1) as pool:
            while ahead or behind or running:
                for job in list(ahead):
                    load = sum(x.load for x in running.values() if x not in background)
                    if load + job.load <= processors or not load:
                        begin(job, ahead)
                while behind and sum(x in background for x in running.values()) < processors:
                    begin(behind[0], behind)
                ended, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in ended:
                    self.note(running.pop(future), future.result())

    def wants(self, suite):
        return suite in self.options.suites

    def skip(self, name, reason):
        self.cases.append(Case(name, "skipped", reason))
        print(f"skip  {name}: {reason}", flush=True)

    def install(self, group):
        """Installs packages that only some runs need. Returns whether they are there."""
        command = [TOP / "packaging/install-missing", group]
        return subprocess.run(command, check=False).returncode == 0

    def build(self, flavour):
        """Configures if need be, and compiles; warnings are errors. A failure is a failed case."""
        compiler, options, _ = FLAVOURS[flavour]
        for tool in compiler, "meson", "ninja":
            if not shutil.which(tool):
                self.skip("build/" + flavour, f"{tool} is not installed")
                self.broken.add(flavour)
                return
        directory = BUILDS / flavour
        setup = ["meson", "setup", "-Dwerror=true", *options, str(directory), str(TOP)]
        stamp = directory / "options-of-the-test-run"
        if not stamp.exists() or stamp.read_text() != repr(setup):
            shutil.rmtree(directory, ignore_errors=True)
        script = "[ -f \"$0/build.ninja\" ] || \"$@\"; exec ninja -C \"$0\""
        name = "build/" + flavour
        job = Job(name, ["sh", "-ec", script, str(directory), *setup], one_case(name), 600,
                  {"CC": compiler}, nice=0)
        outcome = run(job)
        self.note(job, outcome)
        if any(case.outcome == "failed" for case in outcome[0]):
            self.broken.add(flavour)
        else:
            stamp.write_text(repr(setup))
        # What an earlier build counted fits no other, and is no figure of this run's.
        for counters in directory.rglob("*.gcda"):
            counters.unlink()

    def build_all(self):
        needed = set()
        if self.wants("build"):
            needed |= {"gcc", "clang", "bare", "sanitize"}
        if self.wants("unit") or self.wants("integration"):
            needed |= {"gcc", "bare", "sanitize"}
            needed |= {"tsan"} if self.options.all else set()
            needed |= {"coverage"} if self.options.coverage else set()
        if self.wants("systemd"):
            needed |= {"gcc"}
        if self.wants("fuzz"):
            needed |= {"gcc", "sanitize"}
        if self.wants("lint"):
            needed |= {"clang"}
            needed |= {"analyzer"} if self.options.all else set()
        if self.wants("cross"):
            needed |= self.prepare_cross()
        self.broken = set(FLAVOURS) - needed
        for flavour in FLAVOURS:
            if flavour in needed:
                self.build(flavour)

    def tested_flavours(self):
        flavours = ["sanitize", "gcc", "bare"]
        flavours += ["tsan"] if self.options.all else []
        flavours += ["coverage"] if self.options.coverage else []
        return [flavour for flavour in flavours if flavour not in self.broken]

    def meson_job(self, suite, flavour, name, wrapper=None):
        """@flavour: of the build; what runs its programs may be one by itself: valgrind."""
        directory = BUILDS / flavour
        base = name.replace("/", "-")
        extra = ["--wrap", str(wrapper)] if wrapper else []
        added = f"-{wrapper.name}" if wrapper else ""  # by meson
        log = directory / "meson-logs" / f"{base}{added}.json"
        log.unlink(missing_ok=True)
        slowness = VALGRIND_SLOWNESS if extra else FLAVOURS[flavour][2]
        command = ["meson", "test", "-C", str(directory), "--no-rebuild", "--suite", suite,
                   "--num-processes", "1", "--timeout-multiplier", str(slowness),
                   "--logbase", base, *extra]
        sampled = "valgrind" if extra else flavour
        is_whole = self.options.all and sampled in WHOLE_WITH_ALL
        sample = 1 if is_whole else SAMPLES.get(sampled, 1)
        return Job(name, command, lambda *text: meson_cases(log, *text), min(600 * slowness, 3000),
                   {"ACKD_TEST_SAMPLE": str(sample)})

    def unit_jobs(self):
        jobs = [self.meson_job("unit", flavour, "unit/" + flavour)
                for flavour in self.tested_flavours()]
        if self.options.all and "gcc" not in self.broken:
            wrapper = self.make_valgrind_wrapper()
            jobs.append(self.meson_job("unit", "gcc", "unit/valgrind", wrapper))
        return jobs

    @staticmethod
    def pytest_job(name, prefix, paths, flavour, test_seconds=120):
        report_path = LOGS / (name.replace("/", "-") + ".xml")
        report_path.unlink(missing_ok=True)
        command = [*prefix, "/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q",
                   "--durations=10", f"--junitxml={report_path}"]
        slowness = FLAVOURS[flavour][2] if flavour in FLAVOURS else VALGRIND_SLOWNESS
        command += [f"--timeout={test_seconds + 20 * slowness}", *paths]
        # twice: beside other jobs
        variables = {"ACKD_BUILD": str(BUILDS / flavour), "ACKD_TEST_SLOWNESS": str(2 * slowness)}
        return Job(name, command, lambda *text: junit_cases(report_path, *text),
                   min(1200 * slowness, 3000), variables, **WAITING)

    def integration_job(self, flavour, name, files=("tests/integration",)):
        return self.pytest_job(name, self.own_network, files, flavour)

    def integration_jobs(self):
        modules = "import pytest, pytest_timeout"
        if subprocess.run(["/usr/bin/python3", "-c", modules], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.skip("integration", "python3-pytest or python3-pytest-timeout is not installed")
            return []
        jobs = [self.integration_job(flavour, "integration/" + flavour)
                for flavour in self.tested_flavours()]
        if self.options.all and "gcc" not in self.broken:
            self.make_valgrind_build()
            files = [f"tests/integration/test_{name}.py" for name in UNDER_VALGRIND]
            job = self.integration_job("valgrind", "integration/valgrind", files)
            jobs.insert(0, job._replace(load=0.75))
        return jobs

    def can_boot(self, suite, *groups):
        """Whether a systemd of its own can be booted for the suite; if not, it is skipped."""
        if os.geteuid() != 0:
            self.skip(suite, "only root can boot a systemd for the tests")
            return False
        for group in ("systemd", *groups):
            if not self.install(group):
                self.skip(suite, f"what it needs ({group}) could not be installed")
                return False
        boot = subprocess.run([LAB, "run", "--", "true"], check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if boot.returncode != 0:
            said = boot.stdout.strip().split("\n")[-1]
            self.skip(suite, "no systemd can be booted here: " + said)
        return boot.returncode == 0

    def systemd_jobs(self):
        """The service in a systemd of its own, where one can be booted."""
        if not self.can_boot("systemd"):
            return []
        prefix = [LAB, "run", "-b", str(TOP), "--", "env", f"ACKD_BUILD={BUILDS}/gcc"]
        return [Job("systemd/lab", [str(TOP / "tests/systemd/check-lab")],
                    lambda output, trouble: tap_cases(output, "lab: "), 300, **WAITING),
                self.pytest_job("systemd", prefix, [str(TOP / "tests/systemd")], "gcc")]

    def package_jobs(self):
        """The Debian packages: built, installed, upgraded and purged in such a systemd."""
        if not self.can_boot("package", "deb"):
            return []
        prefix = [LAB, "run", "-b", str(TOP), "--"]
        return [self.pytest_job("package", prefix, [str(TOP / "tests/package")], "gcc", 900)]

    @staticmethod
    def make_valgrind_build():
        """Makes a build directory whose programs are those of the plain build, under valgrind."""
        for name in ("ackd", "ackc"):
            program = BUILDS / "valgrind/src" / name / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text("#!/bin/sh\n"
                               f"exec {VALGRIND} {BUILDS}/gcc/src/{name}/{name} \"$@\"\n")
            program.chmod(0o755)

    @staticmethod
    def make_valgrind_wrapper():
        """Makes a program that runs a unit test under valgrind: in a script's stead, what it starts."""
        wrapper = BUILDS / "valgrind/wrapper"
        wrapper.parent.mkdir(parents=True, exist_ok=True)
        wrapper.write_text("#!/bin/sh\ncase \"$1\" in\n"
                           f"*/python3* | *.py) MESON_EXE_WRAPPER='{VALGRIND}' exec \"$@\" ;;\n"
                           f"*) exec {VALGRIND} \"$@\" ;;\nesac\n")
        wrapper.chmod(0o755)
        return wrapper

    def fuzz_jobs(self):
        """One job a target, with libFuzzer; and one that replays the corpus in the plain build."""
        jobs = []
        if "gcc" not in self.broken:
            jobs.append(self.meson_job("fuzz", "gcc", "fuzz/replay"))
        if "sanitize" in self.broken:
            return jobs
        listed = subprocess.run(["meson", "introspect", "--tests", BUILDS / "sanitize"], text=True,
                                stdout=subprocess.PIPE, check=True, env=environment({})).stdout
        seconds = self.options.fuzz_seconds
        nice, slow_seconds = (19, 100) if self.is_fuzzing_long() else (0, 10)
        for test in json.loads(listed):
            if not any(suite.split(":")[-1] == "fuzz" for suite in test["suite"]):
                continue
            target = test["name"].removeprefix("fuzz_")
            found = BUILDS / "fuzz" / target
            found.mkdir(parents=True, exist_ok=True)
            command = [test["cmd"][0], f"-max_total_time={seconds}", f"-timeout={slow_seconds}",
                       "-rss_limit_mb=2048", "-print_final_stats=1",
                       f"-artifact_prefix={found}-", str(found), *test["cmd"][2:]]
            jobs.append(Job("fuzz/" + target, command, self.fuzz_case(target), seconds + 300,
                            nice=nice))
        return jobs

    def is_fuzzing_long(self):
        """Long enough to do it beside everything else, with what that leaves of the processors."""
        return self.options.fuzz_seconds > 60

    @staticmethod
    def fuzz_case(target):
        def read_cases(output, trouble):
            runs = re.findall(r"number_of_executed_units: (\d+)", output)
            tell([f"{count} runs" for count in runs], "fuzz/" + target)
            return one_case("fuzz/" + target)(output, trouble)
        return read_cases

    def lint_jobs(self):
        if "clang" in self.broken:
            return []
        return [Job("lint", [str(TOP / "tests/lint"), str(BUILDS / "clang")],
                    lambda output, trouble: tap_cases(output, "lint: "), 1800)]

    def prepare_cross(self):
        """Gets the means to build for other architectures. Returns those that can be built."""
        if not self.install("cross"):
            self.skip("cross", "the cross compilers and qemu-user could not be installed")
            return set()
        prepared = set()
        for architecture in CROSS_FLAVOURS:
            with open(LOGS / f"cross-{architecture}.log", "wb") as log:
                prepare = subprocess.run(
                    [TOP / "tests/cross/prepare", architecture, BUILDS / f"cross-{architecture}"],
                    check=False, stdout=log, stderr=log)
            if prepare.returncode == 0:
                prepared.add(architecture)
            else:
                self.skip(f"cross/{architecture}", "its libraries could not be fetched: " + log.name)
        return prepared

    def cross_jobs(self):
        return [self.meson_job("unit", flavour, f"cross/{flavour}") for flavour in CROSS_FLAVOURS
                if flavour not in self.broken]

    def soak_jobs(self):
        soak = TOP / "tests/soak"
        if not self.options.all or "gcc" in self.broken or not os.access(soak, os.X_OK):
            return []
        return [Job("soak", [str(soak)], one_case("soak"), 3600,
                    {"ACKD_BUILD": str(BUILDS / "gcc")})]

    def bench_jobs(self):
        """The benchmark, for a moment: whether it works, not what it says."""
        if "gcc" in self.broken:
            return []
        return [Job("bench", [str(TOP / "tests/bench/run"), "--smoke", "--build",
                              str(BUILDS / "gcc")], one_case("bench"), 300)]

    def print_coverage(self):
        """Prints the figures of lcov for what the coverage flavour's tests ran."""
        directory = BUILDS / "coverage"
        branches = ["--rc", "lcov_branch_coverage=1"]

        def lcov(*arguments):
            """Runs one step, all of whose talk but the figures goes into the log."""
            with open(LOGS / "lcov.log", "ab") as log:
                return subprocess.run(["lcov", *branches, *arguments], check=True, text=True,
                                      cwd=directory, stdout=subprocess.PIPE, stderr=log).stdout

        # The first capture is of all that was built, so that what never ran counts too.
        lcov("--capture", "--initial", "-d", ".", "-o", "built.info")
        lcov("--capture", "-d", ".", "-o", "ran.info")
        lcov("-a", "built.info", "-a", "ran.info", "-o", "all.info")
        for part, pattern in (("core", f"{TOP}/src/core/*"), ("whole", f"{TOP}/src/*")):
            lcov("--extract", "all.info", pattern, "-o", part + ".info")
            figures = re.findall(r"(lines|functions|branches)\.*: (.*)",
                                 lcov("--summary", part + ".info"))
            print(f"coverage of the {part}: "
                  + ", ".join(f"{kind} {value}" for kind, value in figures), flush=True)

    def waiting_jobs(self):
        """Those that mostly wait: as many at a time as may be, but for tests of the same ports."""
        jobs = self.integration_jobs() if self.wants("integration") else []
        if not self.own_network:
            for job in jobs:
                self.do([job])
            jobs = []
        if self.wants("systemd") and "gcc" not in self.broken:
            jobs += self.systemd_jobs()
        if self.wants("package"):
            jobs += self.package_jobs()
        return jobs

    def all(self):
        self.build_all()
        jobs = self.waiting_jobs()
        if self.wants("unit"):
            jobs += self.unit_jobs()
        if self.wants("cross"):
            jobs += self.cross_jobs()
        if self.wants("lint"):
            jobs += self.lint_jobs()
        fuzzing = self.fuzz_jobs() if self.wants("fuzz") else []
        if self.is_fuzzing_long():
            self.do(jobs, background=fuzzing)
        else:
            self.do(jobs + fuzzing)
        self.do(self.soak_jobs())
        if self.wants("bench"):
            self.do(self.bench_jobs())
        if self.options.coverage and "coverage" not in self.broken:
            self.print_coverage()


def parse_options():
    parser = argparse.ArgumentParser(prog="tests/run")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--fuzz-seconds", type=int)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    options = parser.parse_args()
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    options.suites = options.suites or [x for x in SUITES
                                        if options.all or x not in LONG_SUITES]
    options.fuzz_seconds = options.fuzz_seconds or (600 if options.all else 20)
    return options


def main():
    start = time.monotonic()
    tell(filter(None, [surroundings.set_up()]))
    test_run = Run(parse_options())
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    for wanted, group in ((test_run.options.all, "long"), (test_run.options.coverage, "coverage")):
        if wanted and not test_run.install(group):
            return 1
    test_run.all()
    count = collections.Counter(case.outcome for case in test_run.cases)
    print(f"logs in {LOGS.relative_to(TOP)}; {time.monotonic() - start:.0f} s in all")
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    print(f"{count['passed']} passed, {count['failed']} failed{skipped}")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
