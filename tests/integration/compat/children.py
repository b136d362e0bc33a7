"""Work that is shared among processes, so that it is done on all processors."""

import faulthandler
import os
import pickle
import select
import signal
import time
import traceback


def in_child(function, argument):
    """(process, pipe from which its answer is read)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        faulthandler.register(signal.SIGUSR1)
        try:
            answer = (True, function(argument))
        except BaseException:
            answer = (False, traceback.format_exc())
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    return pid, os.fdopen(reader, "rb")


def tell_where(children):
    for pid, _ in children:
        os.kill(pid, signal.SIGUSR1)
    time.sleep(0.5)


def in_children(function, arguments, seconds):
    """What the function returns for each argument, each in a process of its own."""
    children = [in_child(function, argument) for argument in arguments]
    limit = time.monotonic() + seconds
    answers = []
    try:
        for _, pipe in children:
            if not select.select([pipe], [], [], max(0, limit - time.monotonic()))[0]:
                tell_where(children)
                raise AssertionError(f"not done within {seconds} s")
            done, answer = pickle.load(pipe)
            assert done, answer
            answers.append(answer)
    finally:
        for pid, pipe in children:
            pipe.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return answers
