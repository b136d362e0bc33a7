"""A program on a pseudo terminal, and what a terminal would show of it."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

import pyte
from harness import process

# xterm's terminfo has REP, pyte does not.
REPEAT = re.compile(rb"([ -~])\x1b\[(\d+)b")


class Terminal:
    def __init__(self, command, environment, rows=30, columns=160):
        self.raw = b""       # everything that was written
        self.pending = b""   # the beginning of a sequence that is not whole
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.master, slave = pty.openpty()
        self.set_size(rows, columns)
        self.child = process.spawn(command, env=environment, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)

    def set_size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        self.set_size(rows, columns)
        self.screen.resize(rows, columns)
        self.child.send_signal(signal.SIGWINCH)  # it is in another session than the terminal

    def read(self, seconds):
        """False: the program has closed its side."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            got = os.read(self.master, 65536)
        except OSError:
            return False
        self.raw += got
        got = self.pending + got
        cut = re.search(rb"([ -~]?\x1b(\[[0-9;?]*)?|[ -~])$", got)
        self.pending = cut.group() if cut and b"\x1b" in cut.group() else b""
        got = got[:len(got) - len(self.pending)]
        self.stream.feed(REPEAT.sub(lambda found: found[1] * (int(found[2]) + 1), got))
        return bool(got or self.pending)

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def line(self, number):
        return self.screen.display[number].rstrip()

    def wait(self, condition, what, seconds=20):
        """The first true value of condition(), reading meanwhile."""
        limit = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > limit or not self.read(0.1):
                raise AssertionError(f"not shown: {what}\n{self.text()}")
        return value

    def wait_text(self, pattern, seconds=20):
        return self.wait(lambda: re.search(pattern, self.text()), pattern, seconds)

    def wait_gone(self, pattern, seconds=20):
        self.wait(lambda: not re.search(pattern, self.text()), f"no {pattern}", seconds)

    def press(self, keys):
        os.write(self.master, keys.encode())

    def quit(self):
        """Ends it by its key; it must leave cleanly, and under a sanitizer without a report."""
        self.press("q")
        limit = time.monotonic() + 15
        while self.child.poll() is None:
            assert time.monotonic() < limit, "q does not end it\n" + self.text()
            self.read(0.05)
        while self.read(0):
            if not select.select([self.master], [], [], 0)[0]:
                break
        os.close(self.master)
        assert process.end(self.child) == 0, self.raw[-3000:].decode(errors="replace")
