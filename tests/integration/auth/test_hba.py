"""The same rules in pgweir and in PostgreSQL: the same logins get in, and the others get the same error.

See side_by_side.py for who is held to what.
"""
import contextlib
import os
import pwd
import random
import re

from side_by_side import ROLES, SECRET, TRUST, Pair, lines_of, outcome, refused_lines, write_rules
from support import Skip, has_ipv6, pool

from harness import pgweir, postgres, wire

ME = pwd.getpwuid(os.geteuid()).pw_name

# Rules, maps, and the files that they name.
SETS = {
    "each_way_its_method": """
        local   all        all                          peer map=m
        host    all        all        127.0.0.1/32      scram-sha-256
        host    all        all        ::1/128           md5
        """,
    "clear_passwords": """
        local   all        all                          password
        host    all        scram      samehost          password
        host    all        all        127.0.0.0 255.0.0.0   md5
        """,
    "rejects_before_trust": """
        host    one        scram      127.0.0.1/32      reject
        host    all        hashed     all               reject
        local   sameuser   all                          trust
        hostssl all        all        all               trust
        hostnossl one,two  "scram",reader  all          trust
        hostgssenc all     all        all               trust
        hostnogssenc two   nobody     all               trust
        """,
    "words_in_quotes": """
        local   "all"      all                          trust
        local   all        "all"                        trust
        host    "one", two  scram   all                 trust
        """,
    "lists_of_a_file": """
        local   @databases   @users                     trust
        host    all          @users   all               \\
            scram-sha-256   # goes on
        """,
    "replication": """
        local   replication  reader                     trust
        local   all          all                        reject
        host    replication  all      127.0.0.1/32      reject
        host    all          reader   127.0.0.1/32      trust
        """,
    "without_a_map": """
        local   one        all                          peer
        local   two        all                          ident map=nowhere
        local   reader     all                          peer map=pattern
        """,
}
IDENT = rf"""
    m        {ME}        scram
    m        {ME}        "reader"
    pattern  /^(.*){ME[-1]}$  re\1er
    pattern  /^{ME[:-1]}  scram
    """
FILES = {"databases": "one, three # and\n\n\"reader\"", "users": "scram\nreader,nobody", "ident": IDENT}

# Lines that PostgreSQL 15 and pgweir must judge alike.
GOOD_LINES = """
local all all trust
local all all peer
local all all ident
local all all peer map=m
local all all peer map=m,map=n
local all all "trust"
"local" all all trust
local a,b,c d,e,f reject
local , all all trust
local all all trust # comment
local all all trust#comment
local all "a""b" trust
host all all all trust
host all all samehost md5
host all all samenet password
host all all 10.0.0.0/8 scram-sha-256
host all all 10.0.0.1 255.255.255.255 trust
host all all 10.0.0.1 0.255.0.255 trust
host all all 10.1/8 trust
host all all 0x7f000001/8 trust
host all all 10.0.0.0/+8 trust
host all all 10.0.0.0/08 trust
host all all ::/0 trust
host all all ::ffff:10.0.0.1/96 trust
host all all ::1 ::1 trust
hostnossl all all all trust
hostnogssenc all all all reject
host all all example.org trust
host all all .example.org md5
host all all "all" trust
host all all 10.0.0.1.1 trust
host all all ::1::2 trust
"""
BAD_LINES = """
local
local all
local all all
local all all trust x
local all all trust x=y
local all all trust map=m
local all all trust,md5
local all all none
local all all TRUST
LOCAL all all trust
socket all all trust
local,host all all trust
host
host all all
host all all all
host all all all peer
host all all 10.0.0.1
host all all 10.0.0.1 trust
host all all 10.0.0.1/ trust
host all all 10.0.0.1/33 trust
host all all 10.0.0.1/-1 trust
host all all 10.0.0.1/8x trust
host all all 10.0.0.1/8/8 trust
host all all ::1/129 trust
host all all 10.0.0.1 ::1 trust
host all all 10.0.0.1,10.0.0.2 trust
host all all all all trust
host all all name/8 trust
host all all .name/8 trust
host all all name 255.0.0.0 trust
host all all name,other trust
host all all 10.0.0.1.1/8 trust
host all all 10.0.0.1 1.2.3.4.5 trust
local all "not closed trust
host all all "samehost"/1 trust
local all @nowhere trust
"""


def logins():
    for user in ROLES + ("nobody", ME):
        for database in ("one", "two", "reader", "nowhere"):
            for secret in (SECRET, "wrong"):
                yield user, database, secret, {}
    for user in ("reader", "scram"):
        yield user, "one", SECRET, {"replication": "true"}
        yield user, "one", SECRET, {"replication": "database"}


@pool(seconds=240)
def test_same_logins_get_in(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with contextlib.ExitStack() as stack:
        pair = Pair(stack, FILES)
        seen = set()
        for name, rules in SETS.items():
            pair.reload(rules)
            for host in ["local", "127.0.0.1"] + ["::1"] * has_ipv6():
                for user, database, secret, parameters in logins():
                    expected = pair.outcomes(host, user, database, secret, **parameters)
                    seen.add((name, expected if expected == "in" else expected[0]))
        # Every set let somebody in and refused somebody; every kind of refusal came up.
        for name in SETS:
            assert (name, "in") in seen and (name, "28000") in seen, (name, seen)
        assert {code for _, code in seen} == {"in", "28000", "28P01", "3D000"}, seen
        rules = re.findall(r"login succeeded rule=\S+/hba:(\d+) method=(\S+)", pair.daemon.read_log())
        assert {method for _, method in rules} == {"peer", "scram-sha-256", "md5", "password", "trust"}, rules
        pair.daemon.stop()


@pool(seconds=120)
def test_same_lines_are_read(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with postgres.Postgres(hba=TRUST) as reference:
        daemon = pgweir.Pgweir({"db": "host=127.0.0.1"}, start=False, auth_type="hba")
        daemon.settings["auth_hba_file"] = os.path.join(daemon.folder, "hba")
        daemon.write()
        good = bad = 0
        judged = []
        lines = lines_of(GOOD_LINES) + lines_of(BAD_LINES)
        for at in range(0, len(lines), 15):  # pgweir does not name more than 20 at once
            text = "".join(line + "\n" for line in lines[at:at + 15])
            write_rules(daemon, text)
            reference.hba(text, reload=False)
            rows = reference.sql("select line_number, error from pg_hba_file_rules")
            theirs = {int(line): error for line, error in rows if error is not None}
            ours = refused_lines(daemon)
            assert set(ours) == set(theirs), (text, ours, theirs)
            bad += len(ours)
            judged += [line for number, line in enumerate(lines[at:at + 15], 2) if number in ours]
            good += len(rows) - len(theirs)
        assert judged == lines_of(BAD_LINES), set(judged) ^ set(lines_of(BAD_LINES))
        assert good >= len(lines_of(GOOD_LINES)), good
        reference.hba(TRUST, reload=False)


PATTERNS = r"""
^ab$ a|b ^(a|b)+$ a*?b ^a{2}$ ^a{2,}b ^a{1,2}?$ [ab]c [^a] ^[]a]+$ ^[[:alpha:]]+$ ^[\]a]+$ ^\d+$ \s ^\w+$ \. \D \W \S
^(?:ab)+$ a(?=b) ^a(?!b) {a} ^[a-c_0-1]+$ ^[\d\-]+$ ^(a?)*$ ^a?b?$ . ^.$ $ ^ ab|^1 (a|ab)(c|bcd)? ^(ab|a)(bc)?$
^(a*)(ab)*$ [-a] [a-] x* ^\a ^[\w]+$ a{0} ^a{0,1}$ (((a))) ()a | a| ^(|a)$
"""
SUBJECTS = ["a", "b", "ab", "aa", "aab", "abc", "abcd", "ba", "11", "a1", "a-b", "a.b", "a b", "]a", "a]", "{a}", "_c", "aba",
            "abab", "b b", "-", "1-1", "d", "x\n", "a\nb", "\n", "w", "bb"]
PIECES = ["a", "b", "ab", "1", ".", "\\d", "\\w", "\\s", "[ab]", "[^a]", "[[:digit:]b]", "\\.", "^", "$", "-", "]", "}"]
QUANTIFIERS = ["*", "+", "?", "*?", "+?", "??", "{2}", "{1,}", "{0,2}", "{1,2}?"]


def made_up(chance, depth=0):
    """A regular expression by chance; not each is one."""
    text = ""
    for _ in range(chance.randint(1, 4)):
        if depth < 2 and chance.random() < 0.25:
            text += chance.choice(["(", "(", "(?:", "(?=", "(?!"]) + made_up(chance, depth + 1) + ")"
        else:
            text += chance.choice(PIECES)
        if chance.random() < 0.35:
            text += chance.choice(QUANTIFIERS)
        if chance.random() < 0.15:
            text += "|"
    return text


def matches(reference, pattern):
    """The subjects that PostgreSQL finds the pattern in; None when it takes it for none."""
    try:
        rows = reference.sql("select n from unnest(array[%s]) with ordinality as s (t, n) where t ~ '%s' collate \"C\""
                             % (", ".join("'%s'" % subject for subject in SUBJECTS), pattern))
    except wire.ServerError as error:
        assert error.sqlstate == "2201B", error
        return None
    return {SUBJECTS[int(number) - 1] for number, in rows}


@pool(seconds=240)
def test_regular_expressions_mean_the_same(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    chance = random.Random(16)
    patterns = PATTERNS.split() + [made_up(chance) for _ in range(300)]
    with postgres.Postgres(hba=TRUST) as reference:
        daemon = pgweir.Pgweir({"db": "host=127.0.0.1"}, start=False, auth_type="hba", log_level="warning")
        daemon.settings["auth_hba_file"] = os.path.join(daemon.folder, "hba")
        daemon.write()
        taken = {}
        for at in range(0, len(patterns), 18):  # pgweir does not name more than 20 at once
            some = patterns[at:at + 18]
            write_rules(daemon, "".join(f'host all "/{pattern}" all reject\n' for pattern in some))
            refused = refused_lines(daemon)
            taken.update({at + number: pattern for number, pattern in enumerate(some) if number + 2 not in refused})
        write_rules(daemon, "".join(f'host p{number} "/{pattern}" all reject\n' for number, pattern in taken.items()))
        with daemon:
            daemon.start()
            compared = 0
            for number, pattern in taken.items():
                expected = matches(reference, pattern)
                if expected is None:
                    continue  # the file would not be read there
                found = {subject for subject in SUBJECTS
                         if "rejects" in outcome(daemon.port, "127.0.0.1", subject, f"p{number}", None)[1]}
                assert found == expected, (pattern, found ^ expected)
                compared += 1
        assert set(range(len(PATTERNS.split()))) <= set(taken), "a pattern that both understand was refused"
        assert compared > 200, (compared, len(taken))
