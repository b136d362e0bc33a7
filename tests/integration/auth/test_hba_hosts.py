"""Rules with names of hosts, in pgweir and in PostgreSQL, which ask the same DNS server. See side_by_side.py for
who is held to what."""
import contextlib
import time

from side_by_side import SECRET, Pair, outcome
from support import Skip, background, pool

from harness import names, process, wire

HOSTS = """
127.0.0.1  localhost
127.0.0.2  two.test  alias.test
"""
# Three is honest, four says to be three, five has a name without addresses, six has two, seven has none,
# eight is written in capitals, nine has a numeric name.
NAMES = {"127.0.0.3": "three.inner.test", "127.0.0.4": "three.inner.test", "127.0.0.5": "five.inner.test",
         "127.0.0.6": "six.test", "127.0.0.8": "EIGHT.Test", "127.0.0.9": "127.0.0.9"}
ADDRESSES = {"three.inner.test": ["127.0.0.3"], "six.test": ["::1", "127.0.0.66", "127.0.0.6"],
             "eight.test": ["127.0.0.8"], "five.test": ["127.0.0.5"], "seven.test": ["127.0.0.7"]}
SOURCES = ["127.0.0.%d" % last for last in range(1, 10)]

SETS = {
    "names": """
        host    all        scram      localhost          trust
        host    all        scram      two.test           scram-sha-256
        host    all        reader     alias.test         trust
        host    one        all        three.inner.test   trust
        host    all        all        "six.test"         trust
        host    all        all        Eight.TEST         trust
        host    all        reader     seven.test         trust
        """,
    "suffixes": """
        host    all        scram      .inner.test        trust
        host    all        reader     .test              trust
        host    all        all        est                trust
        """,
    "rejected_by_name": """
        host    all        all        .inner.test        reject
        host    two        all        five.test          reject
        host    all        all        all                trust
        """,
    "names_that_look_otherwise": """
        host    all        all        "all"              trust
        host    all        all        "samehost"         trust
        host    all        all        127.0.0.0.9        trust
        host    all        all        .0.9               trust
        host    all        all        .                  trust
        host    all        reader     127.0.0.3/32       trust
        """,
}


@pool(seconds=240)
def test_same_logins_get_in(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with contextlib.ExitStack() as stack:
        dns = stack.enter_context(names.Names(HOSTS))
        dns.names.update(NAMES)
        dns.addresses.update(ADDRESSES)
        pair = Pair(stack, prefix=dns.prefix)
        seen = set()
        for name, rules in SETS.items():
            pair.reload(rules)
            for source in SOURCES:
                for user in ("scram", "reader"):
                    for database in ("one", "two"):
                        got = pair.outcomes("127.0.0.1", user, database, SECRET, source=source)
                        seen.add((name, source, user, database, got if got == "in" else got[0]))
        for name in SETS:
            assert {told for rules, *_, told in seen if rules == name} == {"in", "28000"}, (name, seen)
        # The DNS server itself was asked, for what the file of hosts does not have.
        assert ("names", "127.0.0.1", "scram", "one", "in") in seen
        assert ("names", "127.0.0.3", "scram", "one", "in") in seen
        assert ("names", "127.0.0.4", "scram", "one", "28000") in seen
        assert ("names", "127.0.0.6", "scram", "one", "in") in seen
        for address in ("127.0.0.3", "127.0.0.7"):
            assert (names.PTR, names.reverse(address)) in dns.asked
        log = pair.daemon.read_log()
        for text in ('the client\'s address has no name',
                     'the client\'s address has the name "three.inner.test", and that not this address',
                     'the client\'s address has the name "two.test", which no rule on the way has'):
            assert f"reason=rule_missing closing because: no rule of auth_hba_file fits: {text}" in log, text
        pair.daemon.stop()


@pool(seconds=120)
def test_nobody_waits_for_a_silent_server(env):
    """Logins that need no name, and clients that are in, go on; who needs it is refused when the lookup has
    failed, or by client_login_timeout."""
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with contextlib.ExitStack() as stack:
        dns = stack.enter_context(names.Names())
        dns.silent.add("127.0.0.3")
        pair = Pair(stack, prefix=dns.prefix, client_login_timeout="2s")
        pair.reload_daemon("host one scram .test reject\nhost all all all trust\n")
        port = pair.daemon.port

        def come(results):
            began = time.monotonic()
            results.append((outcome(port, "127.0.0.1", "scram", "one", None, source="127.0.0.3"),
                            time.monotonic() - began))

        results = []
        threads = [background(come, results) for _ in range(20)]
        process.wait_until(lambda: (names.PTR, names.reverse("127.0.0.3")) in dns.asked, "the server is asked")
        began = time.monotonic()
        for _ in range(20):
            assert outcome(port, "127.0.0.1", "reader", "one", None, source="127.0.0.3") == "in"
        assert time.monotonic() - began < 1.5
        for thread in threads:
            thread.join(30)
        assert len(results) == 20
        for told, took in results:
            assert told == ("57014", "login took too long (client_login_timeout)") and took < 4, (told, took)
        # All of them asked together.
        assert len([1 for kind, _ in dns.forget() if kind == names.PTR]) <= 2
        # The rule that cannot be told does not fit: here that lets in, and so it is in PostgreSQL.
        pair.daemon.settings["client_login_timeout"] = "20s"
        pair.daemon.write()
        pair.reload("host one scram .test reject\nhost all all all trust\n")
        assert pair.outcomes("127.0.0.1", "scram", "one", SECRET, source="127.0.0.3") == "in"
        pair.daemon.stop()


def connected(port, source):
    """How many connections the daemon has from there."""
    there = b"".join(bytes([int(part)]) for part in reversed(source.split("."))).hex().upper()
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split()[1:4] for line in file.readlines()[1:]]
    return sum(local.endswith(f":{port:04X}") and remote.startswith(there) and state == "01" for local, remote, state in rows)


@pool(seconds=120)
def test_a_reload_while_a_login_waits(env):
    """It goes on with the rules that it began with."""
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with contextlib.ExitStack() as stack:
        dns = stack.enter_context(names.Names())
        dns.names["127.0.0.3"] = "three.test"
        dns.addresses["three.test"] = ["127.0.0.3"]
        dns.silent.add("three.test")
        pair = Pair(stack, prefix=dns.prefix)
        pair.reload_daemon("host all all three.test trust\nhost all all all reject\n")
        results = []
        threads = [background(lambda: results.append(outcome(pair.daemon.port, "127.0.0.1", "scram", "one", None,
                                                             source="127.0.0.3"))) for _ in range(5)]
        process.wait_until(lambda: (names.A, "three.test") in dns.asked, "the name is asked for")
        process.wait_until(lambda: connected(pair.daemon.port, "127.0.0.3") == 5, "all have come")
        # Whoever comes behind them is answered: they have been heard as well.
        assert outcome(pair.daemon.port, "127.0.0.1", "scram", "one", None)[0] == "28000"
        for rules in ("host all all all reject\n", "host all all three.test md5\n", "host all all all reject\n"):
            pair.reload_daemon(rules)
        assert not results
        # Some come and leave meanwhile.
        for _ in range(3):
            with wire.Client(pair.daemon.port, source="127.0.0.3") as client:
                client.send(wire.startup({"user": "scram", "database": "one"}))
            client = wire.Client(pair.daemon.port, source="127.0.0.3")
            client.send(wire.startup({"user": "scram", "database": "one"}))
            client.reset()
        dns.silent.clear()
        for thread in threads:
            thread.join(30)
        assert results == ["in"] * 5, results
        assert outcome(pair.daemon.port, "127.0.0.1", "scram", "one", None, source="127.0.0.3")[0] == "28000"
        assert pair.daemon.log_has("login succeeded rule="), pair.daemon.tail()
        # And the end while one waits.
        dns.silent.add("127.0.0.4")
        pair.reload_daemon("host all all three.test trust\n")
        waiting = stack.enter_context(wire.Client(pair.daemon.port, source="127.0.0.4"))
        waiting.send(wire.startup({"user": "scram", "database": "one"}))
        process.wait_until(lambda: (names.PTR, names.reverse("127.0.0.4")) in dns.asked, "the server is asked")
        pair.daemon.stop()
        assert waiting.expect("E").fields["C"] == "57P03"
