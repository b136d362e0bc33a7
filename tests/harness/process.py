"""Child processes that cannot outlive the tests: each is ended by the kernel when its parent dies,
and by end_all() at the latest when the test that started it is over."""

import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)

children = []
folders = []


def spawn(command, death_signal=signal.SIGKILL, **options):
    """Popen in an own session. Only from the main thread: the death signal is sent when the thread
    that spawned ends."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("spawn is for the main thread")
    options.setdefault("stdin", subprocess.DEVNULL)
    child = subprocess.Popen(
        command, start_new_session=True,
        preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0), **options)
    children.append(child)
    return child


def end(child, number=signal.SIGTERM, patience=10):
    """Signals, waits, and kills what does not go. Returns the exit status."""
    if child.poll() is None:
        child.send_signal(number)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child in children:
        children.remove(child)
    return child.returncode


def end_all():
    for child in list(reversed(children)):
        end(child, signal.SIGKILL)
    while folders:
        shutil.rmtree(folders.pop(), ignore_errors=True)


def folder(purpose):
    path = tempfile.mkdtemp(prefix=f"pgweir-{purpose}.")
    os.chmod(path, 0o777)  # the daemon and PostgreSQL may run as another user
    folders.append(path)
    return path


def drop_folder(path):
    shutil.rmtree(path, ignore_errors=True)
    if path in folders:
        folders.remove(path)


def free_port():
    """A port nobody listens on, outside the range the kernel takes outgoing ports from."""
    for _ in range(200):
        port = random.randint(15000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def wait_until(condition, what, timeout=10, pause=0.01):
    """The first true value of condition(); AssertionError when none comes in time."""
    limit = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(pause)
