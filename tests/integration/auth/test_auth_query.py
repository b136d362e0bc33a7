"""Users from the database: auth_query against a real PostgreSQL, every kind of stored secret, and what
goes wrong."""
import contextlib
import threading
import time

from harness import pgweir, postgres, process, wire
from support import background, pool

FUNCTION = """
create schema gate;
create function gate.secret_of(in wanted text, out name text, out secret text) returns setof record
language sql security definer set search_path = pg_catalog as $$
    select rolname::text, case when rolvaliduntil is null or rolvaliduntil > now() then rolpassword end
    from pg_catalog.pg_authid where rolname = wanted and rolcanlogin $$;
revoke all on function gate.secret_of from public;
grant usage on schema gate to asker;
grant execute on function gate.secret_of to asker;
"""
CALL = "SELECT name, secret FROM gate.secret_of($1)"
HBA = ("host all asker 127.0.0.1/32 trust\nhost all peter 127.0.0.1/32 md5\n"
       "host all all 127.0.0.1/32 scram-sha-256\n")


class Stage:
    """PostgreSQL with users of all kinds and a pgweir that knows none of them."""

    def __init__(self, hba=HBA, users=None, databases=None, start=True, **settings):
        self.postgres = postgres.Postgres(settings={"max_connections": "300"}, hba=hba)
        self.closing = contextlib.ExitStack()
        self.closing.callback(self.postgres.drop)
        self.sql("create role asker login")
        for database in ("db", "other"):
            self.sql(f"create database {database}")
            self.postgres.sql(FUNCTION, database)
        self.sql("set password_encryption = 'scram-sha-256'; create role anna login password 'ann'; "
                 "create role expired login password 'old' valid until '2001-01-01'; "
                 "create role lasting login password 'long' valid until 'infinity'; "
                 "create role nologin password 'no'; create role bare login")
        self.sql("set password_encryption = 'md5'; create role peter login password 'pete'")
        lines = {"db": f"host=127.0.0.1 port={self.postgres.port} dbname=db"}
        for name, line in (databases or {}).items():
            lines[name] = line.format(port=self.postgres.port)
        self.settings = {"auth_type": "scram-sha-256", "auth_user": "asker", "auth_query": CALL,
                         "pool_size": 2, "max_overflow": 0, **settings}
        self.pooler = pgweir.Pgweir(lines, users, start=start, **self.settings)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        with self.closing:
            if kind is None and self.pooler.child is not None:
                self.pooler.stop()
            else:
                if kind is not None and self.pooler.child is not None:
                    print(self.pooler.tail(25))
                self.pooler.abandon()

    def sql(self, text):
        return self.postgres.sql(text)

    def who(self, user, secret, database="db", **parameters):
        """Logs in and asks the server as whom; closes again."""
        with self.pooler.client(user, database, secret, **parameters) as client:
            return client.value("select current_user")

    def end_servers(self, user):
        """Ends the user's server connections and waits until pgweir knows."""
        def closed():
            return self.pooler.read_log().count(" server_close ")
        before = closed()
        ended = len(self.sql("select pg_terminate_backend(pid) from pg_stat_activity "
                             f"where usename = '{user}'"))
        assert ended > 0
        process.wait_until(lambda: closed() == before + ended, "server connections are gone")

    def refused(self, user, secret, database="db"):
        return self.pooler.refused(user, database, secret)

    def lookups(self, query="secret_of"):
        """How often PostgreSQL was asked: its own count of calls of the function."""
        return int(self.postgres.sql("select coalesce(sum(calls), 0) from pg_stat_user_functions "
                                     f"where funcname = '{query}'", "db")[0][0])


def reason(refusal):
    return refusal["S"], refusal["C"], refusal["M"]


def wrong(user):
    return "FATAL", "28P01", f'password authentication failed for user "{user}"'


@pool(seconds=120)
def test_every_kind_of_secret(env):
    for auth_type in ("scram-sha-256", "md5", "plain"):
        with Stage(auth_type=auth_type) as stage:
            assert stage.who("anna", "ann") == "anna"
            assert stage.who("lasting", "long") == "lasting"
            if auth_type != "scram-sha-256":
                assert stage.who("peter", "pete") == "peter"
            for user, secret in (("anna", "x"), ("peter", "x"), ("expired", "old"), ("nologin", "no"),
                                 ("bare", ""), ("bare", "x"), ("nobody", "x"), ("n" * 90, "x"),
                                 ("anna' or 'a'='a", "ann")):
                assert reason(stage.refused(user, secret)) == wrong(user), user
            log = stage.pooler.read_log()
            assert "auth_query gave NULL as secret" in log and "no such user" in log


@pool(seconds=60)
def test_a_name_in_no_encoding_is_an_unknown_user(env):
    with Stage() as stage, stage.pooler.connect() as client:
        client.send(wire.startup({"user": "anna", "database": "db"}).replace(b"anna", b"ann\xff"))
        try:
            client.authenticate("anna", "ann")
        except wire.ServerError as refusal:
            assert refusal.fields["C"] == "28P01", refusal.fields
        else:
            raise AssertionError("let in")
        assert not stage.pooler.log_has("users cannot be looked up")


@pool(seconds=60)
def test_default_query_needs_the_right_to_read(env):
    with Stage(auth_query=None) as stage:
        refusal = stage.refused("anna", "ann")
        assert reason(refusal) == ("FATAL", "08006", "cannot check the password now"), refusal
        assert reason(stage.refused("nobody", "ann")) == reason(refusal)
        assert stage.pooler.log_has('auth_user "asker" lacks a permission in database "db"')
        stage.sql("alter role asker superuser")
        assert stage.who("anna", "ann") == "anna"
        assert reason(stage.refused("expired", "old")) == wrong("expired")


@pool(seconds=60)
def test_pooled_connections_rotate(env):
    """Clients that were looked up share the pool's two connections, which pgweir opened with the keys
    of their own proofs."""
    with Stage() as stage:
        clients = [stage.closing.enter_context(stage.pooler.client("anna", "db", "ann"))
                   for _ in range(6)]
        seen = {client: set() for client in clients[2:]}
        holder, next_holder = clients[:2]
        holder.query("begin")
        for _ in range(4):  # one of two is always held: the others share what is left
            for client in seen:
                seen[client].add(client.value("select pg_backend_pid()"))
            next_holder.query("begin")
            holder.query("commit")
            holder, next_holder = next_holder, holder
        holder.query("commit")
        assert all(len(pids) == 2 for pids in seen.values()), seen
        assert len(set.union(*seen.values())) == 2, seen
        assert stage.postgres.backends("usename = 'anna'") == 2
        assert stage.postgres.backends("usename = 'asker'") == 1
        for client in clients:
            client.close()


@pool(seconds=60)
def test_clients_cannot_change_where_names_lead(env):
    """CVE-2025-12819: a search_path in the startup packet must not reach the lookup."""
    with Stage(auth_query="SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1 and "
                          "length(rolname) > 0 and rolcanlogin") as stage:
        stage.sql("alter role asker superuser")
        secret = wire.scram_secret("mine")
        stage.postgres.sql("create schema evil; grant usage on schema evil to public; "
                           "create table evil.pg_authid (rolname text, rolpassword text, rolcanlogin bool); "
                           f"insert into evil.pg_authid values ('anna', '{secret}', true); "
                           "grant select on evil.pg_authid to public; "
                           "alter database db set search_path = evil, pg_catalog; "
                           "alter role asker set search_path = evil, pg_catalog", "db")
        with wire.Client(stage.postgres.port) as plain:
            assert plain.login("asker", "db").value("show search_path") == "evil, pg_catalog"
        for extra in ({"search_path": "evil, pg_catalog"}, {"options": "-c search_path=evil,pg_catalog"},
                      {"options": "--search_path=evil"}):
            try:
                stage.who("anna", "mine", **extra)
            except wire.ServerError as refusal:
                assert refusal.fields["C"] == "28P01", refusal.fields
            else:
                raise AssertionError("the client chose the table of passwords")
            assert stage.who("anna", "ann", **extra) == "anna"


@pool(seconds=60)
def test_answers_are_remembered(env):
    with Stage(auth_query_cache="30s") as stage:
        stage.sql("alter system set track_functions = 'all'")
        stage.sql("select pg_reload_conf()")
        stage.pooler.reload()
        time.sleep(0.5)
        for _ in range(10):
            stage.who("anna", "ann")
        # Counts come when the connection that asked has been idle, or has gone.
        stage.pooler.reload()
        process.wait_until(lambda: stage.lookups() > 0, "calls are counted")
        assert stage.lookups() == 1
        for _ in range(3):
            assert reason(stage.refused("ghost", "boo")) == wrong("ghost")
        stage.pooler.reload()
        # The first is looked up; the others again, because the user may have come meanwhile.
        process.wait_until(lambda: stage.lookups() == 4, "calls are counted")


@pool(seconds=60)
def test_without_a_cache_each_login_asks(env):
    with Stage(auth_query_cache="0") as stage:
        stage.sql("alter system set track_functions = 'all'")
        stage.sql("select pg_reload_conf()")
        time.sleep(0.3)
        for _ in range(5):
            stage.who("anna", "ann")
        assert reason(stage.refused("anna", "x")) == wrong("anna")
        stage.pooler.reload()
        process.wait_until(lambda: stage.lookups() == 6, "calls are counted")


@pool(seconds=60)
def test_a_changed_password_holds_at_once(env):
    """With MD5 and in clear text in the same login. A SCRAM exchange is bound to the salt that it began
    with, so it may fail once; the next one has the new salt."""
    for auth_type, user, old in (("md5", "peter", "pete"), ("plain", "anna", "ann"), ("plain", "peter", "pete")):
        with Stage(auth_type=auth_type, auth_query_cache="1h") as stage:
            assert stage.who(user, old) == user
            encryption = "md5" if user == "peter" else "scram-sha-256"
            stage.sql(f"set password_encryption = '{encryption}'; alter role {user} password 'fresh'")
            assert stage.who(user, "fresh") == user
            assert reason(stage.refused(user, old)) == wrong(user)
            # A new server connection is opened with the new one, too.
            stage.end_servers(user)
            assert stage.who(user, "fresh") == user
            stage.sql(f"create role late{user} login password 'late'")
    with Stage(auth_query_cache="1h") as stage:
        assert stage.who("anna", "ann") == "anna"
        stage.sql("alter role anna password 'fresh'")
        assert reason(stage.refused("anna", "fresh")) == wrong("anna")
        assert stage.who("anna", "fresh") == "anna"
        assert reason(stage.refused("anna", "ann")) == wrong("anna")
        stage.end_servers("anna")
        assert stage.who("anna", "fresh") == "anna"
        assert reason(stage.refused("late", "late")) == wrong("late")
        stage.sql("create role late login password 'late'")
        assert reason(stage.refused("late", "late")) == wrong("late")
        assert stage.who("late", "late") == "late"


@pool(seconds=90)
def test_server_down_and_back(env):
    with Stage(auth_query_cache="0") as stage:
        assert stage.who("anna", "ann") == "anna"
        stage.postgres.restart()
        process.wait_until(lambda: stage.who("anna", "ann") == "anna", "the lost connection is replaced")
        stage.postgres.stop()
        for user in ("anna", "ghost"):
            refusal = stage.refused(user, "ann")
            assert reason(refusal) == ("FATAL", "08006", "cannot check the password now"), refusal
        stage.pooler.wait_log(r'users cannot be looked up in database "db": cannot connect as auth_user')
        stage.postgres.start()

        def back():
            try:
                return stage.who("anna", "ann") == "anna"
            except wire.ServerError as refusal:
                assert refusal.fields["C"] == "08006", refusal.fields
        process.wait_until(back, "logins work again")


@pool(seconds=60)
def test_clients_that_leave_while_they_are_looked_up(env):
    """The lookup hangs on a lock; clients go away, time out, and the rest get in afterwards."""
    with Stage(client_login_timeout="1s", auth_query_cache="0",
               auth_query="SELECT name, secret FROM gate.slow_secret_of($1)") as stage:
        stage.postgres.sql("create table gate.lock (); grant select on gate.lock to asker; "
                           "create function gate.slow_secret_of(in wanted text, out name text, out secret text) "
                           "returns setof record language plpgsql security definer as $$ begin "
                           "lock table gate.lock in share mode; return query select rolname::text, rolpassword "
                           "from pg_catalog.pg_authid where rolname = wanted; end $$", "db")
        holder = stage.closing.enter_context(stage.postgres.session("db"))
        assert holder.query("begin; lock table gate.lock in access exclusive mode").error is None
        clients = []
        for number in range(30):
            client = stage.pooler.connect()
            client.send(wire.startup({"user": f"u{number % 10}", "database": "db"}))
            clients.append(client)
        process.wait_until(lambda: stage.postgres.backends("usename = 'asker' and wait_event_type = 'Lock'") == 2,
                           "two lookups hang")
        assert stage.postgres.backends("usename = 'asker'") == 2
        for client in clients[:20]:
            client.reset()
        for client in clients[20:]:
            error = client.expect("E", 5)
            assert b"login took too long" in error.body, error
            client.close()
        holder.query("commit")
        assert stage.who("anna", "ann") == "anna"
    # Reload and stop while it hangs.
    for end in ("reload", "stop"):
        with Stage(auth_query="SELECT 'anna', pg_sleep(1)::text WHERE $1 <> ''") as stage:
            client = stage.closing.enter_context(stage.pooler.connect())
            client.send(wire.startup({"user": "anna", "database": "db"}))
            process.wait_until(lambda: stage.postgres.backends("usename = 'asker' and wait_event = 'PgSleep'") == 1,
                               "the lookup runs")
            if end == "reload":
                stage.pooler.settings["auth_query"] = CALL
                stage.pooler.reload()
                assert stage.who("anna", "ann") == "anna"
                try:
                    client.authenticate("anna", "ann")
                except wire.ServerError as refusal:
                    assert refusal.fields["C"] == "28P01"


@pool(seconds=90)
def test_a_hundred_clients_at_once(env):
    with Stage(max_client_conn=300, pool_size=5) as stage:
        for number in range(100):
            stage.sql(f"create role many{number} login password 'p{number}'")
        before = stage.pooler.counters().get("longest_turn_usec", 0)
        gate = threading.Barrier(100)

        def come(number):
            with stage.pooler.connect() as client:
                gate.wait(30)
                client.send(wire.startup({"user": f"many{number}", "database": "db"}))
                client.authenticate(f"many{number}", f"p{number}")
        threads = [background(come, number) for number in range(100)]
        for thread in threads:
            thread.join(60)
        turn = stage.pooler.counters()["longest_turn_usec"]
        print(f"longest turn: {turn} us with a hundred logins, {before} us before")
        # An ordinary build: 2 to 18 ms on two cores with fourteen others at work. A sanitizer makes all
        # of it slower, and this is to notice something that blocks.
        assert turn < 200_000, turn
        assert stage.postgres.backends("usename = 'asker'") <= 2


@pool(seconds=60)
def test_per_database(env):
    with Stage(auth_user=None, auth_query=None, databases={
            "one": "host=127.0.0.1 port={port} dbname=db auth_user=asker "
                   f"auth_query='{CALL}'",
            "two": "host=127.0.0.1 port={port} dbname=db auth_user=asker auth_dbname=elsewhere "
                   "auth_query='select name, secret from gate.two($1)'",
            "elsewhere": "host=127.0.0.1 port={port} dbname=other",
            "three": "host=127.0.0.1 port={port} dbname=db auth_user=asker auth_dbname=other "
                     "auth_query='select name, secret from gate.two($1)'"}) as stage:
        stage.postgres.sql("create function gate.two(text, out name text, out secret text) language sql "
                           f"as $$ select $1, '{wire.scram_secret('second')}'::text $$", "other")
        assert stage.who("anna", "ann", "one") == "anna"
        assert reason(stage.refused("anna", "ann", "db")) == wrong("anna")
        for database in ("two", "three"):
            assert reason(stage.refused("anna", "ann", database)) == wrong("anna")
            # Let in by what gate.two says; the server then has another password.
            assert stage.refused("anna", "second", database)["C"] in ("28P01", "08006")
            stage.pooler.wait_log("server_connect_failed|server login failed")


@pool(seconds=60)
def test_console_of_users_from_the_database(env):
    with Stage(admin_users="anna", auth_dbname="db") as stage:
        with stage.pooler.client("anna", "pgweir", "ann") as client:
            assert client.query("show pools").error is None
        assert reason(stage.refused("anna", "x", "pgweir")) == wrong("anna")
        # That there is no such database is told to those only who have proven who they are.
        assert reason(stage.refused("anna", "x", "nowhere")) == wrong("anna")
        assert stage.refused("anna", "ann", "nowhere")["C"] == "3D000"


@pool(seconds=60)
def test_what_pgweir_adds_to_what_is_wrong(env):
    """Each missing piece is named, by --check and in the log."""
    def check(stage, *arguments):
        stage.pooler.write()
        return pgweir.run("--check", *arguments, stage.pooler.ini)

    with Stage(start=False) as stage:
        settings = stage.pooler.settings
        status, said = check(stage, "--lookup", "anna")
        assert status == 0 and 'auth_user "asker" found user "anna" in database "db", with a SCRAM secret' in said, said
        status, said = check(stage, "--lookup", "peter")
        assert status == 0 and "with an md5 secret" in said, said
        for user, why in (("expired", "gave NULL as secret"), ("ghost", "no such user"), (None, "gave NULL as secret")):
            status, said = check(stage, *(["--lookup", user] if user else []))
            assert status == 1 and why in said, (user, said)
        for query, why in (
                (None, 'auth_user "asker" lacks a permission in database "db": permission denied for table pg_authid'),
                ("SELECT name, secret FROM secret_of($1)", "auth_query calls a function that is missing"),
                ("SELECT name, secret FROM gate.users WHERE name = $1", "auth_query names what is missing"),
                ("SELECT name FROM gate.secret_of($1)", "auth_query gives 1 column, and two are needed"),
                ("SELECT $1, $1 FROM generate_series(1, 2)", "auth_query gives 2 rows for one user"),
                ("SELECT 'eve', 'x' WHERE $1 <> ''", "another user than was asked for"),
                ("SELEC $1", "auth_query fails in database")):
            settings["auth_query"] = query
            status, said = check(stage, "--lookup", "anna")
            assert status == 1 and why in said, (query, said)
        settings["auth_query"] = CALL
        stage.postgres.hba("host all all 127.0.0.1/32 scram-sha-256\n")
        for users, why in ((None, 'no password of auth_user "asker" is known'),
                           ({"asker": wire.scram_secret("ask")}, "auth_file has only a SCRAM verifier"),
                           ({"asker": wire.md5_secret("asker", "ask")}, "auth_file has only an md5 hash"),
                           ({"asker": "wrong"}, "password authentication failed")):
            stage.pooler.users = users
            settings.pop("auth_file", None)
            status, said = check(stage, "--lookup", "anna")
            assert status == 1 and why in said and "cannot connect to database" in said, (users, said)
        stage.sql("alter role asker password 'ask'")
        stage.pooler.users = {"asker": "ask"}
        status, said = check(stage, "--lookup", "anna")
        assert status == 0, said
        stage.pooler.start()
        assert stage.who("anna", "ann") == "anna"
        stage.pooler.users = {"asker": wire.scram_secret("ask")}
        stage.pooler.reload()
        assert stage.refused("anna", "ann")["C"] == "08006"
        assert stage.pooler.log_has("auth_file has only a SCRAM verifier")


@pool(seconds=60)
def test_unknown_users_are_not_told_from_known_ones(env):
    """One exchange of each: the same messages of the same sizes, and the same challenge again."""
    def challenge(stage, user):
        with stage.pooler.connect() as client:
            client.send(wire.startup({"user": user, "database": "db"}))
            asked = client.expect("R").body
            first = b"n,,n=,r=abcdefghijkl"
            client.send(wire.password(wire.string("SCRAM-SHA-256") + len(first).to_bytes(4, "big") + first))
            found = wire.attributes(wire.sasl_message(client, 11))
            return asked, len(found["s"]), found["i"], found["s"]

    for auth_type in ("scram-sha-256", "md5"):
        with Stage(auth_type=auth_type) as stage:
            known = challenge(stage, "anna")
            unknown = challenge(stage, "ghosty")
            assert known[:3] == unknown[:3], (auth_type, known, unknown)
            assert unknown == challenge(stage, "ghosty"), auth_type
