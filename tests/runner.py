"""The test runner: builds every flavour, runs every suite, and counts the cases. See tests/run.

meson and pytest find the tests, limit their time and report them as JUnit. This file plans jobs and
runs them in parallel in lanes. A job has a log in build-tests/logs, and waits for the build that it tests.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

import surroundings
from flavours import BUILDS, FLAVOURS, QEMU, TOP

LOGS = BUILDS / "logs"
INSTALL = "packaging/install-missing"
BOOT = ["sh", "-c", f'''{{ [ "$(id -u)" != 0 ] || {INSTALL} "$@"; }} && tests/systemd/lab run -- true ||
    {{ echo "no systemd can be booted here, which only root may"; exit 1; }}''', "boot"]
LAB = ["tests/systemd/lab", "run", "-b", TOP, "--"]
SUITES = [*"build unit integration systemd fuzz lint bench".split(), *QEMU,
          *"windows freebsd macos static package".split()]
SKIPPED = 77  # exit status; the last line of the log states the reason
FIGURES = re.compile(r"^(?:stat::number_of_executed|lines:|functions:|branches:).*", re.MULTILINE)

# name: (parallel jobs, niceness). Jobs that wait for timeouts have priority over those that compute.
PROCESSORS = max(2, os.cpu_count() or 2)
LANES = {"compute": (PROCESSORS, 10), "integration": (2, 0), "systemd": (2, 0),
         "fuzz": (PROCESSORS, 19), "last": (1, 0)}  # these begin when all others have ended

BUILD = f"""for tool in "$CC" meson ninja; do
command -v "$tool" || {{ echo "$tool is not installed"; exit {SKIPPED}; }}; done
[ -z "$prepare" ] || $prepare || {{
[ $? = {SKIPPED} ] || echo "its libraries could not be fetched"; exit {SKIPPED}; }}
[ "$(cat "$0/setup" 2>&1)" = "$*" ] || rm -rf "$0"
[ -f "$0/build.ninja" ] || "$@" || exit 1
ninja -C "$0" && printf %s "$*" >"$0/setup" || exit 1
find "$0" -name "*.gcda" -delete # counts of an earlier run"""

Case = collections.namedtuple("Case", "name outcome reason")
# flavour: the required builds, or None; junit: its report, without which the job is one case
Job = collections.namedtuple("Job", "name lane command flavour seconds environment junit",
                             defaults=[None, 1200, {}, None])


def read_junit(path):
    """Returns the cases of a report of meson or pytest. Prints the figures of record_property()."""
    cases = []
    for suite in xml.etree.ElementTree.parse(path).iter("testsuite") if path.exists() else []:
        for test in suite.iter("testcase"):
            name = test.get("classname").split(".")[-1] + "::" + test.get("name")
            found = next((x for x in test if x.tag in ("failure", "error", "skipped")), test)
            outcome = {"testcase": "passed", "skipped": "skipped"}.get(found.tag, "failed")
            said = [found.get("message"), *map(test.findtext, ("system-out", "system-err")), found.tag]
            cases.append(Case(name, outcome, next(filter(None, said)).strip().split("\n")[0]))
            for figure in test.iter("property"):
                print(f"      {name}: {figure.get('name')}: {figure.get('value')}")
        if suite.find("testcase/failure") is not None:  # meson omits the output of TAP tests
            comments = re.findall(r"^# .*\n", suite.findtext("system-out") or "", re.MULTILINE)
            print(*comments, sep="", end="")
    return cases


def read_cases(job, status, log):
    """Returns the cases of a job that has ended: at least one, and a failed one if the job failed."""
    if status == SKIPPED:
        return [Case(job.name, "skipped", log.strip().rpartition("\n")[2])]
    cases = read_junit(job.junit) if job.junit else []
    if not job.junit and status == 0:
        cases = [Case(job.name, "passed", "")]
        print(*(f"      {job.name}: {figure}\n" for figure in FIGURES.findall(log)), sep="", end="")
    if not cases or status != 0 and all(x.outcome != "failed" for x in cases):
        cases.append(Case(job.name, "failed", f"exit status {status}" if status else "no test"))
    return cases


def report(job, cases, took, used, log):
    """Prints one line for the job, and the reasons of cases that did not pass."""
    count = collections.Counter(case.outcome for case in cases)
    verdict = "FAIL" if count["failed"] else "ok" if count["passed"] else "skip"
    said = ", ".join(f"{count[x]} {x}" for x in ("passed", "failed", "skipped") if count[x])
    lines = [f"{verdict:4}  {job.name}: {said} ({took:.0f} s of {job.seconds}; processor: {used:.0f} s)"]
    lines += [f"      {x.outcome} {x.name}: {x.reason}" for x in cases if x.outcome != "passed"]
    if count["failed"]:
        lines += [f"      --- the end of {job.name} in {LOGS.relative_to(TOP)}:",
                  *(f"      {x}" for x in log.splitlines()[-60:])]
    print("\n".join(lines), flush=True)


class Run:
    def __init__(self):
        self.cases = []
        self.ended = {}  # name of a job: future of whether it passed
        self.groups = set()  # of running processes
        self.is_stopping = False

    def kill(self, group):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)

    def run(self, job):
        """Runs a job to its end or its time limit. Returns whether it passed."""
        if not all(self.ended["build/" + name].result() for name in (job.flavour or "").split()):
            return False  # the build is a failed or skipped case already
        path = LOGS / (job.name.replace("/", "-") + ".log")
        begin = time.monotonic()
        command = ["nice", f"-n{LANES[job.lane][1]}", "timeout", "-s", "KILL", str(job.seconds), *job.command]
        with open(path, "wb") as output:
            child = subprocess.Popen(command, cwd=TOP, env={**os.environ, **job.environment},
                                     stdout=output, stderr=output, start_new_session=True)
        self.groups.add(child.pid)
        if self.is_stopping:
            self.kill(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        status = child.returncode = os.waitstatus_to_exitcode(status)
        self.kill(child.pid)  # processes that the job left running
        self.groups.remove(child.pid)
        log = path.read_text(errors="replace")
        cases = read_cases(job, status, log)
        report(job, cases, time.monotonic() - begin, usage.ru_utime + usage.ru_stime, log)
        self.cases += cases
        return all(case.outcome == "passed" for case in cases)

    def run_all(self, jobs):
        pools = {lane: concurrent.futures.ThreadPoolExecutor(n) for lane, (n, _) in LANES.items()}
        try:
            for job in jobs:
                if job.lane == "last":
                    concurrent.futures.wait(self.ended.values())
                self.ended[job.name] = pools[job.lane].submit(self.run, job)
            for future in self.ended.values():
                future.result()
        except KeyboardInterrupt:
            sys.exit("tests/run: interrupted")
        finally:  # after an interrupt as well
            self.is_stopping = True
            for pool in pools.values():
                pool.shutdown(wait=False, cancel_futures=True)
            for group in list(self.groups):
                self.kill(group)


def lacks(name, *command):
    """Returns no jobs if a command that prepares a suite passes, otherwise one that is skipped."""
    done = subprocess.run(command, cwd=TOP, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    print(done.stdout, end="", flush=True)
    reason = done.stdout.strip().rpartition("\n")[2]
    return [Job(name, "compute", ["sh", "-c", f'echo "$0"; exit {SKIPPED}', reason])] * bool(done.returncode)


def build(name):
    compiler, options, *_ = FLAVOURS[name]
    setup = ["meson", "setup", "-Dwerror=true", *options]
    is_cross = any("--cross-file" in str(option) for option in options)
    script = "system" if name in ("freebsd", "macos") else "prepare"
    prepare = f"tests/cross/{script} {name} {BUILDS}/cross-{name} {BUILDS}/{name}" if is_cross else ""
    if name == "static":
        prepare, setup = f"packaging/static-libraries {BUILDS}/static-libraries", ["packaging/build-static"]
    command = ["sh", "-c", BUILD, BUILDS / name, *setup, BUILDS / name]
    return Job("build/" + name, "compute", command, environment={"CC": compiler, "prepare": prepare})


def meson(name, suite, flavour="gcc", lane="compute"):
    """Returns a job for a suite of meson."""
    _, _, sample, slower, _ = FLAVOURS[flavour]
    is_whole = "ACKD_TEST_ALL" in os.environ and flavour in ("gcc", "sanitize", "i386")
    base, built, wrap, suffix = name.replace("/", "-"), flavour, [], ""
    if flavour == "valgrind":
        built, wrap, suffix = "gcc", ["--wrap", TOP / "tests/valgrind"], "-valgrind"
    junit = BUILDS / built / f"meson-logs/{base}{suffix}.junit.xml"
    junit.unlink(missing_ok=True)
    command = ["meson", "test", "-C", BUILDS / built, "--no-rebuild", "--suite", suite,
               "--num-processes=1", "--print-errorlogs", f"--timeout-multiplier={slower}",
               "--logbase", base, *wrap, *["--no-suite", "shared"] * (flavour == "bare")]
    return Job(name, lane, command, built, min(1500 * slower, 3000),
               {"ACKD_TEST_SAMPLE": str(1 if is_whole else sample)}, junit)


def pytest(name, flavour, *arguments, prefix=(), test_seconds=120):
    """Returns a job for files of tests; without @arguments, the flavour's integration tests."""
    *_, slower, selected = FLAVOURS[flavour]
    processes = PROCESSORS * (2 if flavour in [*QEMU, "valgrind", "windows"] else 4)
    whole = [f"-n{processes}", "-k", selected, "tests/integration"]
    junit = LOGS / (name.replace("/", "-") + ".xml")
    built, environment, directory = flavour, {}, "cross-" * (flavour in QEMU) + flavour
    if flavour == "valgrind":
        built = "gcc"
    elif flavour == "windows":  # the client alone
        built, directory = "gcc windows", "gcc"
        environment["ACKD_ACKC"] = f"{TOP}/tests/cross/wine {BUILDS}/windows/src/ackc/ackc.exe"
    command = [*prefix, "env", f"ACKD_BUILD={BUILDS}/{directory}",
               f"ACKD_TEST_SLOWNESS={2 * slower}",  # other jobs run in parallel
               "/usr/bin/python3", "-m", "pytest", f"--junitxml={junit}",
               f"--timeout={test_seconds + 20 * slower}", *(arguments or whole)]
    return Job(name, "systemd" if arguments else "integration", command,
               built, min(1200 * slower, 3000), environment, junit)


def fuzz(source, seconds):
    lane, slow = ("fuzz", 100) if seconds > 60 else ("compute", 10)  # in parallel to all other jobs
    target = source.stem.removeprefix("fuzz_")
    found = BUILDS / "fuzz" / target
    found.mkdir(parents=True, exist_ok=True)
    command = [BUILDS / "sanitize/tests/fuzz" / source.stem, f"-max_total_time={seconds}",
               f"-timeout={slow}", "-rss_limit_mb=2048", "-print_final_stats=1",
               f"-artifact_prefix={found}-", found, source.parent / "corpus" / target]
    return Job("fuzz/" + target, lane, command, "sanitize", seconds + 300)


def plan(options):
    """Returns the jobs: the builds that others need, then those of the suites."""
    jobs, suites = [], options.suites
    often = ["gcc", "sanitize", "bare"]
    tested = [*often, *["tsan"] * options.all, *["coverage"] * options.coverage]
    if options.all:
        os.environ["ACKD_TEST_ALL"] = "1"
        programs = f'{INSTALL} long && tests/valgrind --build "$0/gcc" "$0/valgrind"'
        jobs += lacks("valgrind", "sh", "-c", programs, BUILDS)
        tested += ["valgrind"] * (not jobs)
    jobs += [pytest("integration/" + x, x) for x in tested if "integration" in suites]
    if "systemd" in suites:
        jobs += lacks("systemd", *BOOT, "systemd") or [
            *(pytest("systemd/" + x.stem[5:], "gcc", x, prefix=LAB)
              for x in sorted(TOP.glob("tests/systemd/test_*.py"))),
            meson("systemd/lab", "lab", lane="systemd")]
    if "package" in suites:
        jobs += lacks("package", *BOOT, "systemd", "deb", "rpm") or [
            pytest("package", "gcc", "tests/package", prefix=LAB, test_seconds=900)]
    if "static" in suites:
        jobs += lacks("static", INSTALL, "static", "image", "containers") or [
            pytest("static/integration", "static"), pytest("static/image", "static", "tests/static")]
    jobs += [meson("lint", "lint")] * ("lint" in suites)
    jobs += [meson("unit/" + x, "unit", x) for x in tested if "unit" in suites]
    for x in filter(suites.__contains__, [*QEMU, "windows"]):
        jobs += lacks(x, INSTALL, x) or [meson(x + "/unit", "unit", x), pytest(x + "/integration", x)]
    jobs += [meson("bench", "bench")] * ("bench" in suites)  # short jobs come last
    if "fuzz" in suites:
        jobs += [meson("fuzz/replay", "fuzz"),
                 *(fuzz(x, options.fuzz_seconds) for x in sorted(TOP.glob("tests/fuzz/fuzz_*.c")))]
    jobs += [Job("soak", "last", ["tests/soak"], "gcc", 3600, {"ACKD_BUILD": f"{BUILDS}/gcc"})] * options.all
    if options.coverage:
        gcovr = ["gcovr", "-r", TOP, "-s", BUILDS / "coverage", "-f"]
        jobs += lacks("coverage", INSTALL, "coverage") or [
            Job("coverage/" + x, "last", [*gcovr, x], "coverage") for x in ("src/core", "src/")]
    needed = {name for job in jobs for name in (job.flavour or "").split()}.union(
        ([*often, *["clang", "tsan", "analyzer"] * options.all]) if "build" in suites else [],
        {"freebsd", "macos"}.intersection(suites))
    return [*map(build, filter(needed.__contains__, FLAVOURS)), *jobs]


def lock():
    """Returns the file that locks the builds, until the process ends; ends it if another run has them."""
    BUILDS.mkdir(exist_ok=True)
    file = open(BUILDS / "lock", "wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"tests/run: another run uses {BUILDS}: wait for its end, or use another checkout")
    return file


def main():
    start = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends all jobs
    if wrong := surroundings.set_up():
        print(wrong)
    parser = argparse.ArgumentParser(prog="tests/run")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--fuzz-seconds", type=int)
    parser.add_argument("suites", nargs="*", metavar="SUITE", choices=[*SUITES, "cross", []])
    options = parser.parse_args()
    options.suites = options.suites or SUITES[:None if options.all else SUITES.index("arm64")]
    options.suites += QEMU * ("cross" in options.suites)
    options.fuzz_seconds = options.fuzz_seconds or (600 if options.all else 2)
    test_run = Run()
    with lock():
        if short := surroundings.lack_of_space(BUILDS):
            print(short)
        shutil.rmtree(LOGS, ignore_errors=True)
        LOGS.mkdir(parents=True)
        test_run.run_all(plan(options))
    count = collections.Counter(case.outcome for case in test_run.cases)
    print(f"logs in {LOGS.relative_to(TOP)}; {time.monotonic() - start:.0f} s, "
          f"processor: {sum(os.times()[2:4]):.0f} s")
    print(", ".join(f"{count[x]} {x}" for x in ("passed", "failed", "skipped")))
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
