"""What test functions say about themselves, for runner.py."""


class Skip(Exception):
    """Raised by a test that cannot run here; its text says why."""


def cases(**named):
    """One test per case, each with its arguments (a tuple, or one value)."""
    def mark(function):
        function.cases = named
        return function
    return mark


def timeout(seconds):
    def mark(function):
        function.timeout = seconds
        return function
    return mark
