"""Runs test functions of Python files: every function called test_*, in the order of the file.

    runner.py [-k PATTERN] [-j N] [--timeout SECONDS] [--build DIR] FILE|FOLDER...

Each file runs in a process of its own, several at a time. A line per test: "ok NAME TIME" or
"FAIL NAME TIME" with indented details. Decorators for tests are in testing.py.
"""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness import pgweir, postgres, process  # noqa: E402
from harness.testing import Skip  # noqa: E402


class Overdue(BaseException):
    """Not an Exception, so that no test catches it by accident."""


def tests_of(module, name):
    for attribute, function in list(vars(module).items()):
        if not attribute.startswith("test_") or not callable(function):
            continue
        title = f"{name}/{attribute[5:]}"
        named = getattr(function, "cases", None)
        if named is None:
            yield title, function, ()
            continue
        for case, arguments in named.items():
            arguments = arguments if isinstance(arguments, tuple) else (arguments,)
            yield f"{title}[{case}]", function, arguments


def shorten(trace):
    """The frames of the test and its harness, not of the runner."""
    lines = "".join(trace).splitlines()
    return "\n".join(lines if len(lines) < 60 else lines[:5] + ["..."] + lines[-50:])


def run_one(function, arguments, limit):
    """None when it passed, else why not."""
    def overdue(_number, _frame):
        raise Overdue

    signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        function(*arguments)
        return None
    except Skip as skip:
        return skip
    except Overdue:
        return f"not done after {limit:g} s\n" + shorten(traceback.format_exc(limit=-8))
    except Exception:
        return shorten(traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run_file(path, pattern, limit):
    """In the process of this file: events as lines of JSON on standard output."""
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    name = os.path.splitext(os.path.basename(path))[0].removeprefix("test_")

    def tell(event, **more):
        events.write(json.dumps(dict(more, event=event)) + "\n")

    try:
        spec = importlib.util.spec_from_file_location("scenario_" + name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for title, function, arguments in tests_of(module, name):
            if pattern not in title:
                continue
            tell("start", name=title)
            began = time.monotonic()
            problem = run_one(function, arguments, getattr(function, "timeout", limit))
            if isinstance(problem, Skip):
                tell("skip", name=title, details=str(problem))
                continue
            if problem is not None:
                problem = "\n".join([problem] + pgweir.reports())
                for daemon in list(process.children):
                    if postgres.shared_child() is not daemon:
                        process.end(daemon, signal.SIGKILL)
            tell("done", name=title, seconds=time.monotonic() - began, details=problem)
    except Exception:
        tell("done", name=name, seconds=0, details=traceback.format_exc())
    finally:
        postgres.end_shared()
        process.end_all()
    tell("end")
    events.flush()
    os._exit(0)  # threads of failed tests may still hang


class Report:
    def __init__(self):
        self.lock = threading.Lock()
        self.passed = self.failed = 0

    def done(self, name, seconds, details):
        with self.lock:
            if details is None:
                self.passed += 1
                print(f"ok   {name} {seconds:.2f}s", flush=True)
                return
            self.failed += 1
            print(f"FAIL {name} {seconds:.2f}s")
            for line in details.splitlines():
                print("    " + line)
            sys.stdout.flush()

    def skip(self, name, details):
        with self.lock:
            print(f"skip {name}: {details}", flush=True)


def watch_file(path, options, report, running):
    command = [sys.executable, "-B", os.path.abspath(__file__), "--one-file", path,
               "-k", options.pattern, "--timeout", str(options.timeout)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                             stdin=subprocess.DEVNULL, errors="replace")
    running.append(child)
    current, ended = None, False
    for line in child.stdout:
        event = json.loads(line)
        if event["event"] == "start":
            current = event["name"]
        elif event["event"] == "skip":
            current = None
            report.skip(event["name"], event["details"])
        elif event["event"] == "done":
            current = None
            report.done(event["name"], event["seconds"], event["details"])
        else:
            ended = True
    child.wait()
    running.remove(child)
    if not ended:
        report.done(current or os.path.basename(path), 0, f"its process ended with {child.returncode}")


def files_of(places):
    for place in places:
        if os.path.isdir(place):
            for name in sorted(os.listdir(place)):
                if name.startswith("test_") and name.endswith(".py"):
                    yield os.path.join(place, name)
        else:
            yield place


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("places", nargs="*")
    parser.add_argument("-k", dest="pattern", default="")
    parser.add_argument("-j", dest="jobs", type=int, default=min(os.cpu_count() or 2, 4))
    parser.add_argument("--timeout", type=float, default=20)
    parser.add_argument("--build")
    parser.add_argument("--one-file", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        os.environ["PGWEIR_BUILD"] = os.path.abspath(options.build)
    if options.one_file:
        run_file(options.one_file, options.pattern, options.timeout)

    report, running = Report(), []
    waiting = list(files_of(options.places))
    stopping = threading.Event()

    def stop(*_):
        stopping.set()
        for child in list(running):
            child.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    def work():
        while not stopping.is_set():
            with report.lock:
                if not waiting:
                    return
                path = waiting.pop(0)
            watch_file(path, options, report, running)

    workers = [threading.Thread(target=work) for _ in range(options.jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        while worker.is_alive():
            worker.join(0.2)
    print(f"# {report.passed} passed, {report.failed} failed")
    return 1 if report.failed or stopping.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
