"""What is read off a running process, and how it is summed up."""

import glob
import os
import re
import shutil
import signal
import statistics
import subprocess
import time

from programs import BenchError

CALLGRIND = ("valgrind", "--tool=callgrind")


def cpu_seconds(pid):
    """Time on a processor, user and system, of all threads; in nanoseconds where there is
    schedstat, else in clock ticks."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path, encoding="ascii") as text:
            total += int(text.read().split()[0])
    if total > 0:
        return total / 1e9
    with open(f"/proc/{pid}/stat", encoding="ascii") as text:
        fields = text.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as text:
        return int(re.search(r"^VmRSS:\s+(\d+) kB", text.read(), re.M).group(1)) * 1024


class Strace:
    """Counts the system calls of a process between enter and exit; see counts."""

    def __init__(self, bench, pid):
        self.path = os.path.join(bench.work, f"strace.{pid}.{time.monotonic_ns()}")
        self.pid = pid
        self.counts = {}
        self.child = None

    def __enter__(self):
        self.child = subprocess.Popen(
            ["strace", "-c", "-f", "-qq", "-o", self.path, "-p", str(self.pid)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 10
        while not self.attached():
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise BenchError("strace: " + self.child.stderr.read().decode().strip())
            time.sleep(0.01)
        return self

    def attached(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as text:
            return re.search(r"^TracerPid:\s+0$", text.read(), re.M) is None

    def __exit__(self, *ignored):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(20)
        self.child.stderr.close()
        with open(self.path, encoding="ascii") as text:
            for line in text:
                found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
                if found and found.group(2) != "total":
                    self.counts[found.group(2)] = int(found.group(1))


class Callgrind:
    """User instructions of a process that runs under callgrind."""

    def __init__(self, bench, pid):
        self.work = bench.work
        self.pid = pid
        self.dumps = 0

    @staticmethod
    def wrapper(bench):
        return CALLGRIND + (f"--callgrind-out-file={bench.work}/callgrind.%p",)

    def control(self, option):
        subprocess.run(
            ["callgrind_control", option, str(self.pid)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def begin(self):
        self.control("--zero")

    def end(self):
        """The instructions since begin; the dump stays for hot_spots."""
        self.control("--dump")
        self.dumps += 1
        with open(self.dump_path(), encoding="utf-8", errors="replace") as text:
            return int(re.findall(r"^(?:summary|totals): (\d+)", text.read(), re.M)[-1])

    def dump_path(self):
        return f"{self.work}/callgrind.{self.pid}.{self.dumps}"

    def inclusive(self, function):
        """(instructions, calls) of a function with all that it called, of the last dump."""
        text = subprocess.run(
            ["callgrind_annotate", "--inclusive=yes", "--tree=caller", "--threshold=100",
             "--auto=no", self.dump_path()],
            check=False,
            capture_output=True,
            text=True,
        ).stdout
        for block in text.split("\n\n"):
            found = re.search(rf"^ *([\d,]+) \([^)]*\) +\* .*:{function} ", block, re.M)
            if found:
                calls = re.findall(r" \(([\d,]+)x\) ", block)
                return tuple(sum(int(number.replace(",", "")) for number in numbers)
                             for numbers in (found.groups(), calls))
        raise BenchError(f"callgrind saw no {function}")

    def hot_spots(self, count):
        """The functions that took most, of the last dump: [(share in percent, name)]."""
        text = subprocess.run(
            ["callgrind_annotate", "--threshold=100", "--auto=no", self.dump_path()],
            check=False,
            capture_output=True,
            text=True,
        ).stdout
        found = re.findall(r"^\s*[\d,]+ \(\s*([\d.]+)%\)\s+(\S.*)$", text, re.M)
        # Functions that were entered before begin (main, the loop) are shown with all they call.
        lines = [(float(share), name) for share, name in found if float(share) < 99.9]
        return [(share, re.sub(r"\s+\[.*\]$", "", name)) for share, name in lines[:count]]


class TurnTrace:
    """The longest turn of an epoll loop: the time from one return of epoll_wait to the next call.
    Works for any proxy; only epoll_wait is stopped, other calls run at full speed."""

    LINE = re.compile(r"^(?:\d+ +)?(\d+\.\d+) epoll_p?wait2?\(.* <(\d+\.\d+)>$")

    def __init__(self, bench):
        self.path = os.path.join(bench.work, f"turns.{time.monotonic_ns()}")

    def wrapper(self):
        calls = "trace=epoll_wait,epoll_pwait"
        return ("strace", "-D", "-f", "--seccomp-bpf", "-e", calls, "-ttt", "-T", "-o", self.path)

    def turns(self, since):
        """Seconds of each turn that began after the given time of day."""
        found = []
        previous = None
        with open(self.path, encoding="ascii", errors="replace") as text:
            for line in text:
                match = self.LINE.match(line)
                if not match:
                    continue
                entered = float(match.group(1))
                if previous is not None and previous >= since:
                    found.append(entered - previous)
                previous = entered + float(match.group(2))
        return found


def has_program(name):
    return shutil.which(name) is not None


class Sample:
    """Repeated values of one figure."""

    def __init__(self, values=()):
        self.values = list(values)

    def add(self, value):
        self.values.append(value)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def spread(self):
        """Half the distance from the least to the greatest, as a share of the median."""
        if len(self.values) < 2 or self.median == 0:
            return 0.0
        return (max(self.values) - min(self.values)) / 2 / abs(self.median)
