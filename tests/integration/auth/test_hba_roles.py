"""Rules for members of roles, in pgweir, which asks the server behind it, and in PostgreSQL. See side_by_side.py
for who is held to what."""
import contextlib
import signal

from side_by_side import SECRET, Pair, outcome, write_rules
from support import Skip, background, pool

from harness import pgweir, postgres, process, wire

LONG = "r" * 63
ROLES = f"""
create role staff;
create role admins;
create role "two words";
create role one;
create role two;
create role "Two";
create role boss superuser login replication;
create role {LONG} login;
create role asker login;
grant admins to staff;
grant "two words" to admins;
grant staff to scram;
grant two to admins;
alter role hashed noinherit;
grant staff to hashed;
grant one to reader with admin option;
grant one to {LONG};
alter database reader owner to reader;
"""
USERS = ("scram", "hashed", "reader", "boss", "nobody", "staff", LONG, LONG + "tail")
SETS = {
    "members": """
        host    all        +staff             127.0.0.1/32      trust
        """,
    "members_of_members": """
        host    one        +admins            all               scram-sha-256
        host    all        +"two words"       all               trust
        """,
    "itself": """
        host    all        +scram,+boss       all               trust
        host    all        +nobody            all               trust
        """,
    "same_role": """
        host    samerole   all                all               trust
        """,
    "same_group": """
        host    samegroup  reader,+staff      samehost          trust
        """,
    "rejected": """
        host    all        +admins            all               reject
        host    samerole   all                all               reject
        host    all        all                all               trust
        """,
    "nobody_is_in_it": """
        host    all        +nowhere,+"Two"    all               trust
        host    all        +pg_database_owner all               trust
        host    all        +                  all               trust
        host    all        "+staff"           all               trust
        host    two        boss               all               trust
        """,
    "lists": """
        host    one,samerole  @people         all               trust
        """,
    "replication": """
        host    replication  +one             all               trust
        host    all          +admins          all               trust
        """,
}
FILES = {"people": 'nobody\n+admins, "+one"\n'}
SETTINGS = {"auth_user": "asker", "auth_query": "", "auth_dbname": "postgres"}


def start(stack, **settings):
    pair = Pair(stack, FILES, **{**SETTINGS, **settings})
    for server in (pair.reference, pair.backend):
        server.sql(ROLES)
    return pair


@pool(seconds=240)
def test_same_logins_get_in(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with contextlib.ExitStack() as stack:
        pair = start(stack)
        seen = set()
        for name, rules in SETS.items():
            pair.reload(rules)
            for user in USERS:
                for database in ("one", "two", "reader"):
                    got = pair.outcomes("127.0.0.1", user, database, SECRET)
                    seen.add((name, user, database, got if got == "in" else got[0]))
            for user in ("reader", "scram", "boss"):
                for replication in ("true", "database"):
                    pair.outcomes("127.0.0.1", user, "one", SECRET, replication=replication)
        for name in SETS:
            assert {"in", "28000"} <= {told for rules, *_, told in seen if rules == name}, (name, seen)
        for row in (("members", "scram", "one", "in"), ("members", "hashed", "one", "in"), ("members", "boss", "one", "28000"),
                    ("itself", "nobody", "one", "28000"), ("itself", "boss", "one", "in"),
                    ("same_role", "reader", "one", "in"), ("same_role", LONG + "tail", "one", "in"),
                    ("rejected", "scram", "one", "28000"), ("rejected", "boss", "one", "in"),
                    ("nobody_is_in_it", "reader", "reader", "28000")):
            assert row in seen, row
        pair.daemon.stop()


@pool(seconds=120)
def test_asked_only_when_a_rule_needs_it(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with contextlib.ExitStack() as stack:
        pair = start(stack)
        port = pair.daemon.port
        pair.reload_daemon("host one reader all trust\nhost two +staff ::1/128 trust\nhost two +staff all trust\n"
                           "host all all all reject\n")
        asking = "usename = 'asker'"
        for _ in range(3):
            assert outcome(port, "127.0.0.1", "reader", "one", None) == "in"
            assert outcome(port, "127.0.0.1", "scram", "one", None)[0] == "28000"
        assert pair.backend.backends(asking) == 0
        assert outcome(port, "127.0.0.1", "scram", "two", None) == "in"
        assert pair.backend.backends(asking) == 1
        # It is remembered: what changes there shows after a while, or with a reload.
        pair.backend.sql("revoke staff from scram; grant staff to reader")
        assert outcome(port, "127.0.0.1", "scram", "two", None) == "in"
        assert outcome(port, "127.0.0.1", "reader", "two", None) == "in"
        pair.reload_daemon("host two +staff all trust\n")
        assert outcome(port, "127.0.0.1", "scram", "two", None)[0] == "28000"
        pair.backend.sql("grant staff to scram")
        assert outcome(port, "127.0.0.1", "scram", "two", None)[0] == "28000"
        pair.daemon.settings["auth_query_cache"] = "0"
        pair.daemon.write()
        pair.reload_daemon("host two +staff all trust\n")
        for change, expected in (("grant", "in"), ("revoke", "28000"), ("grant", "in")):
            pair.backend.sql(f"{change} staff {'to' if change == 'grant' else 'from'} scram")
            got = outcome(port, "127.0.0.1", "scram", "two", None)
            assert (got if got == "in" else got[0]) == expected, (change, got)
        pair.daemon.stop()


@pool(seconds=120)
def test_a_failed_lookup_refuses(env):
    """Also before a rule that would take everybody, and it comes right again."""
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with contextlib.ExitStack() as stack:
        pair = start(stack, auth_query_cache="0", log_level="debug")
        port = pair.daemon.port
        refused = ("08006", "cannot look up the members of roles now")
        rules = "host two all all trust\nhost one +staff all reject\nhost one all all trust\n"
        pair.reload_daemon(rules)
        assert outcome(port, "127.0.0.1", "reader", "one", None) == "in"
        pair.backend.sql("alter role asker nologin; select pg_terminate_backend(pid) from pg_stat_activity "
                         "where usename = 'asker'")
        process.wait_until(lambda: pair.backend.backends("usename = 'asker'") == 0, "it is out")
        assert outcome(port, "127.0.0.1", "reader", "one", None) == refused
        assert outcome(port, "127.0.0.1", "reader", "two", None) == "in"
        pair.daemon.wait_log(r'reason=roles_unknown closing because: cannot look up the members of roles now: role "staff": '
                             r'cannot connect as auth_user "asker": .*not permitted to log in')
        pair.backend.sql("alter role asker login")
        process.wait_until(lambda: outcome(port, "127.0.0.1", "reader", "one", None) == "in", "logins work again")
        # The question itself fails.
        pair.backend.sql("revoke select on pg_catalog.pg_auth_members from public")
        assert outcome(port, "127.0.0.1", "reader", "one", None) == refused
        pair.daemon.wait_log('looking up members of roles fails in database "postgres": permission denied')
        status, said = pgweir.run("--check", pair.daemon.ini)
        assert status == 1 and "roles in rules for database *: looking up members of roles fails" in said, said
        pair.backend.sql("grant select on pg_catalog.pg_auth_members to public")
        assert outcome(port, "127.0.0.1", "reader", "one", None) == "in"
        status, said = pgweir.run("--check", pair.daemon.ini)
        assert status == 0 and 'auth_user "asker" can look up members of roles in database "postgres"' in said, said
        assert "; members of roles are looked up\n" in said, said
        # A database whose members nobody may look up.
        pair.daemon.databases["one"] = f"host=127.0.0.1 port={pair.backend.port} auth_user=''"
        pair.daemon.write()
        pair.reload_daemon(rules)
        assert outcome(port, "127.0.0.1", "reader", "one", None) == refused
        pair.daemon.wait_log("auth_user, or where it is to look, is not set for database \"one\"")
        # Nobody at all: the rules are not taken, and the old ones stay.
        pair.daemon.settings["auth_user"] = None
        pair.daemon.write()
        status, said = pgweir.run("--check", pair.daemon.ini)
        assert status == 1 and "/hba:3: members of roles can be looked up only with the setting auth_user" in said, said
        pair.daemon.signal(signal.SIGHUP)
        pair.daemon.wait_log("the old configuration stays: auth_hba_file: .*/hba:3: members of roles")
        assert outcome(port, "127.0.0.1", "reader", "two", None) == "in"
        pair.daemon.stop()


@pool(seconds=120)
def test_waiting_for_a_lookup(env):
    """Many at once, a reload and clients that leave meanwhile, the time limit, the end."""
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with contextlib.ExitStack() as stack:
        pair = start(stack, client_login_timeout="20s", auth_query_cache="0")
        port = pair.daemon.port
        pair.reload_daemon("host one +staff all trust\nhost all all all reject\n")
        assert outcome(port, "127.0.0.1", "scram", "one", None) == "in"
        holder = stack.enter_context(pair.backend.session())
        assert holder.query("begin; lock table pg_catalog.pg_auth_members in access exclusive mode").error is None
        waiting = "usename = 'asker' and wait_event_type = 'Lock'"
        results = []
        threads = [background(lambda user=user: results.append((user, outcome(port, "127.0.0.1", user, "one", None))))
                   for user in ("scram", "reader") * 10]
        process.wait_until(lambda: pair.backend.backends(waiting) == 2, "two questions hang")
        for _ in range(10):
            with wire.Client(port) as client:
                client.send(wire.startup({"user": "boss", "database": "one"}))
        for rules in ("host all all all reject\n", "host one +admins all md5\n", "host all all all reject\n"):
            pair.reload_daemon(rules)
        assert pair.backend.backends("usename = 'asker'") == 2
        assert not results
        assert holder.query("commit").error is None
        for thread in threads:
            thread.join(30)
        assert {user: got if got == "in" else got[0] for user, got in results} == {"scram": "in", "reader": "28000"}, results
        assert len(results) == 20 and results.count(("scram", "in")) == 10
        # Who waits too long, and who waits at the end.
        pair.daemon.settings["client_login_timeout"] = "1s"
        pair.daemon.write()
        pair.reload_daemon("host one +staff all trust\n")
        assert holder.query("begin; lock table pg_catalog.pg_auth_members in access exclusive mode").error is None
        assert outcome(port, "127.0.0.1", "scram", "one", None)[0] == "57014"
        pair.daemon.settings["client_login_timeout"] = "20s"
        pair.daemon.write()
        pair.reload_daemon("host one +staff all trust\n")
        last = stack.enter_context(wire.Client(port))
        last.send(wire.startup({"user": "scram", "database": "one"}))
        process.wait_until(lambda: pair.backend.backends(waiting) >= 1, "a question hangs")
        pair.daemon.stop()
        assert last.expect("E").fields["C"] == "57P03"
        holder.query("rollback")


@pool(seconds=120)
def test_names_lead_where_they_should(env):
    """Whatever path and whatever operators there are in the database where it is asked."""
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with contextlib.ExitStack() as stack:
        pair = start(stack)
        pair.backend.sql("create schema evil; grant usage on schema evil to public; "
                         "create table evil.pg_auth_members (roleid oid, member oid); "
                         "insert into evil.pg_auth_members select a.oid, b.oid from pg_roles a, pg_roles b; "
                         "create view evil.pg_roles as select * from pg_catalog.pg_roles; "
                         "grant select on all tables in schema evil to public; "
                         "create function evil.yes(name, name) returns bool language sql as 'select true'; "
                         "create operator evil.= (leftarg = name, rightarg = name, function = evil.yes); "
                         "alter database postgres set search_path = evil, pg_catalog; "
                         "alter role asker set search_path = evil, pg_catalog")
        with wire.Client(pair.backend.port) as plain:
            plain.login("asker", "postgres")
            assert plain.value("select 'a'::name = 'b'::name") == "t"
        pair.reload("host all +staff all trust\n")
        for user, expected in (("scram", "in"), ("reader", "28000"), ("boss", "28000")):
            for extra in ({}, {"search_path": "evil"}, {"options": "-c search_path=evil"}):
                got = pair.outcomes("127.0.0.1", user, "one", SECRET, **extra)
                assert (got if got == "in" else got[0]) == expected, (user, got)
        pair.daemon.stop()


@pool(seconds=60)
def test_console_by_role(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    with postgres.Postgres() as server:
        server.sql("create role operators; create role anna login; create role eve login; create role asker login; "
                   "grant operators to anna")
        daemon = pgweir.Pgweir({"db": f"host=127.0.0.1 port={server.port} dbname=postgres"}, start=False,
                               auth_type="hba", admin_users="anna,eve", **{**SETTINGS, "auth_dbname": "db"})
        daemon.settings["auth_hba_file"] = daemon.folder + "/hba"
        daemon.write()
        write_rules(daemon, "host pgweir +operators all trust\n")
        with daemon:
            daemon.start()
            with daemon.client("anna", "pgweir") as console:
                assert console.query("show pools").error is None
            assert daemon.refused("eve", "pgweir")["C"] == "28000"
            # Without a place to look for the console's users.
            daemon.settings["auth_dbname"] = None
            daemon.reload()
            assert daemon.refused("anna", "pgweir")["C"] == "08006"
