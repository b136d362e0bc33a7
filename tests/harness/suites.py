"""Builds pgweir and runs every suite of tests; called by tests/run.

Prints one line per test, "ok NAME TIME" or "FAIL NAME TIME", indented details under a failure, and
at last the one line "N passed, N failed". A suite that is a program of its own (scenario,
integration, fuzz, bench) prints lines of the same form, which are counted here.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TESTS = os.path.join(ROOT, "tests")
SUITES = ["build", "lint", "unit", "fuzz", "scenario", "integration", "pg_regress", "bench"]
RESULT_LINE = re.compile(r"^(ok|FAIL|skip)\s+(\S+)(.*)$")
CASES = re.compile(r"Tested: \D*(\d+)")
DETAIL_LINES = 60

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
    "LSAN_OPTIONS": "suppressions=" + os.path.join(TESTS, "harness", "lsan.supp")
    + ":print_suppressions=0",
}


class Stopped(Exception):
    """The run was interrupted."""


def colour(code, text):
    return f"\033[{code}m{text}\033[0m" if sys.stdout.isatty() else text


class Run:
    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.passed = 0
        self.failed = []
        self.child = None
        self.aside = None
        self.env = dict(os.environ, **SANITIZERS)
        self.env["PYTHONDONTWRITEBYTECODE"] = "1"
        self.env["LC_ALL"] = "C.UTF-8"
        for name in [name for name in self.env if re.match(r"PG[A-Z]+$", name)]:
            del self.env[name]  # no setting of the caller's libpq reaches a test
        self.sanitized = os.path.join(work, "gcc-sanitized")
        self.plain = os.path.join(work, "clang")
        self.env["PGWEIR_BUILD"] = self.sanitized
        self.env["PGWEIR_PLAIN_BUILD"] = self.plain
        self.env["PGWEIR_CLUSTERS"] = os.path.join(work, "clusters")
        os.mkdir(self.env["PGWEIR_CLUSTERS"])
        os.chmod(self.env["PGWEIR_CLUSTERS"], 0o777)  # PostgreSQL runs as another user
        self.env["TMPDIR"] = work  # so that nothing stays behind, whatever happens

    # --- results ---------------------------------------------------------------------------

    def result(self, passed, name, seconds=None, note="", details=""):
        took = "" if seconds is None else f" {seconds:.2f}s"
        note = f" ({note})" if note else ""
        if passed:
            self.passed += 1
            print(f"{colour(32, 'ok')}   {name}{took}{note}", flush=True)
            return
        self.failed.append(name)
        print(f"{colour(31, 'FAIL')} {name}{took}{note}", flush=True)
        lines = details.rstrip().splitlines()
        if len(lines) > DETAIL_LINES:
            print(f"    ... {len(lines) - DETAIL_LINES} lines left out")
        for line in lines[-DETAIL_LINES:]:
            print("    " + line)
        sys.stdout.flush()

    # --- children --------------------------------------------------------------------------

    def start(self, command, **more):
        self.child = subprocess.Popen(
            command, cwd=ROOT, env=dict(self.env, **more), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True)
        return self.child

    def end_children(self):
        self.end_child()
        if self.aside is not None:
            self.child, self.aside = self.aside[1], None
            self.end_child()

    def end_child(self):
        """Ends the whole group of the running child: politely, so that it cleans up, then not."""
        child, self.child = self.child, None
        if child is None:
            return
        for number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
            try:
                os.killpg(child.pid, number)
            except ProcessLookupError:
                break
            try:
                child.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        child.wait()

    def command(self, command, timeout, **more):
        """Runs to the end. Returns (exit status or None for a time-out, output, seconds)."""
        began = time.monotonic()
        child = self.start(command, **more)
        try:
            output, _ = child.communicate(timeout=timeout)
            status = child.returncode
            self.child = None
        except subprocess.TimeoutExpired:
            self.end_child()
            output = (child.stdout.read() or "") + f"\nnot done after {timeout} s"
            status = None
        return status, output, time.monotonic() - began

    def check(self, name, command, timeout, **more):
        status, output, seconds = self.command(command, timeout, **more)
        self.result(status == 0, name, seconds, "" if status in (0, None) else f"exit {status}",
                    output)
        return status == 0

    def begin_aside(self, name, command):
        """What takes long, needs nothing but processors and disturbs nobody: it gets those that the tests, which
        wait most of the time, leave."""
        with open(os.path.join(self.work, "aside"), "wb") as output:
            child = subprocess.Popen(["nice", "-n", "19", *command], cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL,
                                     stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        # Its session has a share of its own, to which its nice value means nothing.
        with contextlib.suppress(OSError), open(f"/proc/{child.pid}/autogroup", "w", encoding="ascii") as group:
            group.write("19")
        self.aside = (name, child, time.monotonic())

    def finish_aside(self, timeout):
        if self.aside is None:
            return
        name, child, began = self.aside
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
            self.child = child
            self.end_child()
        self.aside = None
        with open(os.path.join(self.work, "aside"), encoding="utf-8", errors="replace") as output:
            self.result(status == 0, name, time.monotonic() - began, f"exit {status}" if status else "beside the others",
                        output.read())

    def program(self, name, command, timeout):
        """Runs a suite that prints result lines itself, and counts them as they come."""
        began = time.monotonic()
        seen = failures = 0
        child = self.start(command)

        def overdue(_number, _frame):
            raise TimeoutError

        previous = signal.signal(signal.SIGALRM, overdue)
        signal.alarm(timeout)
        tail = []
        try:
            for line in child.stdout:
                line = line.rstrip("\n")
                match = RESULT_LINE.match(line)
                if match is None:
                    tail = (tail + [line])[-DETAIL_LINES:]
                    if line.startswith(" "):
                        print("    " + line.strip("\n"), flush=True)
                    continue
                verdict, test, rest = match.groups()
                if verdict == "skip":
                    print(line, flush=True)
                    continue
                seen += 1
                test = test if test.startswith(name + "/") else f"{name}/{test}"
                if verdict == "ok":
                    self.passed += 1
                    print(f"{colour(32, 'ok')}   {test}{rest}", flush=True)
                else:
                    failures += 1
                    self.failed.append(test)
                    print(f"{colour(31, 'FAIL')} {test}{rest}", flush=True)
            status = child.wait()
            self.child = None
        except TimeoutError:
            self.end_child()
            status = None
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)
        seconds = time.monotonic() - began
        if status is None:
            self.result(False, name, seconds, f"not done after {timeout} s", "\n".join(tail))
        elif status != 0 and failures == 0:
            self.result(False, name, seconds, f"exit {status}", "\n".join(tail))
        elif seen == 0 and not self.options.pattern:
            self.result(status == 0, name, seconds, "", "\n".join(tail))

    # --- suites ----------------------------------------------------------------------------

    def configure(self, name, directory, compiler, *settings):
        return self.check(name, ["meson", "setup", directory, ROOT, "--werror", *settings], 120,
                          CC=compiler)

    def build(self):
        done = self.configure("build/gcc-configure", self.sanitized, "gcc",
                              "--buildtype=debug", "-Doptimization=1",
                              "-Db_sanitize=address,undefined", "-Db_lundef=false",
                              "-Dtests=enabled")
        done = done and self.check("build/gcc-sanitized", ["ninja", "-C", self.sanitized], 600)
        if shutil.which("clang") is None:
            self.result(False, "build/clang", details="clang is not installed")
        elif self.configure("build/clang-configure", self.plain, "clang", "--buildtype=debug",
                            "-Dtests=enabled"):
            self.check("build/clang-warnings", ["ninja", "-C", self.plain], 600)
        return done

    def lint(self):
        for script in sorted(os.listdir(os.path.join(TESTS, "lint"))):
            path = os.path.join(TESTS, "lint", script)
            if not os.access(path, os.X_OK) or not os.path.isfile(path):
                continue
            if script == "tidy":
                self.begin_aside("lint/tidy", [path, self.plain])
            else:
                self.check("lint/" + script, [path, self.plain], 480)

    def unit(self):
        began = time.monotonic()
        command = ["meson", "test", "-C", self.sanitized, "--no-rebuild", "--print-errorlogs",
                   "--num-processes", str(os.cpu_count() or 2)]
        if self.options.pattern:
            command += [name for name in self.unit_names() if self.options.pattern in name]
            if len(command) == 8:
                return
        _, output, _ = self.command(command, 400)
        log = os.path.join(self.sanitized, "meson-logs", "testlog.json")
        seen = 0
        if os.path.exists(log) and os.path.getmtime(log) > time.time() - (time.monotonic() - began):
            with open(log, encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    seen += 1
                    self.unit_result(json.loads(line))
        if seen == 0:
            self.result(False, "unit", time.monotonic() - began, "no test ran", output)

    def unit_names(self):
        tests = subprocess.run(["meson", "introspect", "--tests", self.sanitized],
                               capture_output=True, text=True, check=True).stdout
        return [test["name"] for test in json.loads(tests)]

    def unit_result(self, test):
        name = "unit/" + test["name"].split(" / ")[-1]
        text = test.get("stdout", "") + test.get("stderr", "")
        cases = CASES.search(text)
        note = "" if cases is None else f"{cases.group(1)} cases"
        passed = test["result"] == "OK" and (cases is None or int(cases.group(1)) > 0)
        self.result(passed, name, test["duration"], note, f"{test['result']}\n{text}")

    def other(self, name, timeout, *arguments):
        path = os.path.join(TESTS, name, "run")
        if not os.path.exists(path):
            return
        command = [path, *arguments]
        if self.options.pattern and name in ("scenario", "integration"):
            command += ["-k", self.options.pattern]
        self.program(name, command, timeout)

    def fuzz(self):
        self.other("fuzz", 480)

    def scenario(self):
        self.other("scenario", 900)

    def integration(self):
        self.other("integration", 1200)

    def pg_regress(self):
        self.other("pg_regress", 300, "--fast")

    def bench(self):
        self.other("bench", 180, "--smoke")

    def everything(self):
        wanted = self.options.suite or SUITES
        if self.options.pattern and not self.options.suite:
            wanted = ["unit", "scenario", "integration"]
        built = self.build()
        for suite in SUITES[1:]:
            if suite not in wanted:
                continue
            if suite == "bench":
                self.finish_aside(600)  # it counts what processors do
            if not built and suite not in ("lint", "fuzz"):
                self.result(False, suite, note="not run: the build failed")
                continue
            getattr(self, suite)()
        self.finish_aside(600)


def main():
    parser = argparse.ArgumentParser(prog="tests/run")
    parser.add_argument("--suite", action="append", choices=SUITES)
    parser.add_argument("-k", dest="pattern", default="")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()

    def stop(number, _frame):
        raise Stopped(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)

    work = tempfile.mkdtemp(prefix="pgweir-tests.")
    os.chmod(work, 0o711)  # PostgreSQL runs as another user when this is root
    run = Run(options, work)
    began = time.monotonic()
    try:
        run.everything()
    except Stopped as stopped:
        run.result(False, "run", note=f"stopped by {stopped}")
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        run.end_children()
        if options.keep:
            print("kept: " + work)
        else:
            shutil.rmtree(work, ignore_errors=True)
    print(f"took {time.monotonic() - began:.0f} s")
    if run.failed:
        print("failed: " + " ".join(run.failed))
    print(f"{run.passed} passed, {len(run.failed)} failed")
    return 0 if run.passed and not run.failed else 1


if __name__ == "__main__":
    sys.exit(main())
