"""What most scenarios begin with."""

import contextlib
import threading

from harness.pgweir import Pgweir
from harness.scripted import Scripted


@contextlib.contextmanager
def pooled(server=None, pool_size=1, max_overflow=0, dsn="", **settings):
    """A scripted server and a daemon before it with one server connection: (server, daemon)."""
    with contextlib.ExitStack() as stack:
        if server is None:
            server = Scripted()
        stack.enter_context(server)
        daemon = stack.enter_context(Pgweir(
            {"db": f"{server.dsn()} {dsn}"}, pool_size=pool_size, max_overflow=max_overflow,
            **settings))
        yield server, daemon


class Gate:
    """For on_query: holds every statement that begins with `word` until open() or a cancel."""

    def __init__(self, word="wait"):
        self.word = word
        self.opened = threading.Event()
        self.reached = threading.Event()

    def __call__(self, backend, sql):
        if not sql.startswith(self.word):
            return False
        self.reached.set()
        self.opened.wait(30)
        return False

    def wait_reached(self):
        assert self.reached.wait(10), "the statement never arrived"

    def open(self):
        self.opened.set()


def in_background(function, *arguments):
    """Runs in a thread; the returned join() gives its value or raises what it raised."""
    outcome = {}

    def work():
        try:
            outcome["value"] = function(*arguments)
        except BaseException as problem:  # raised again by join
            outcome["problem"] = problem

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def join(timeout=15):
        thread.join(timeout)
        assert not thread.is_alive(), "still busy"
        if "problem" in outcome:
            raise outcome["problem"]
        return outcome["value"]

    return join
