"""Real clients when places are taken, connections come too fast, or passwords are wrong."""
import contextlib
import os
import socket
import time

import psycopg
from support import PASSWORD, Skip, pool, run_program

SOCKET = f"@pgweir-strangers-{os.getpid()}"


def psql(env, way, *arguments, **options):
    return run_program(["psql", "-XAt", "-d", way, *arguments], env, seconds=30, **options)


@pool(pool_size=2, max_client_conn=3, admin_users="app", stats_users="second", max_console_connections=4,
      reserved_admin_connections=2, unix_socket_dir=SOCKET)
def test_psql_gets_into_the_console_when_all_is_taken(env):
    """All of max_client_conn is taken and strangers hang on the port: an admin comes in over TCP and over the Unix
    socket, the system user of the process without a password."""
    if env.against != "pgweir":
        raise Skip("about pgweir")
    for _ in range(3):
        env.connect()
    refused = psql(env, env.dbname, "-c", "select 1", check=False)
    assert refused.returncode == 2 and "max_client_conn 3" in refused.stdout, refused.stdout
    with contextlib.ExitStack() as strangers:
        for _ in range(100):
            strangers.enter_context(socket.create_connection(("127.0.0.1", env.port)))
        time.sleep(1.2)
        for host in ("127.0.0.1", SOCKET):
            out = psql(env, f"dbname=pgweir host={host}", "-c", "show lists")
            assert "used_clients|3" in out.stdout.splitlines(), out.stdout
        own = env.pooler.identity.get("user")
        if own:
            out = run_program(["setpriv", f"--reuid={own}", "--clear-groups", "psql", "-XAt",
                               f"host={SOCKET} port={env.port} dbname=pgweir user=pgweir", "-c", "show version"], env)
            assert "pgweir" in out.stdout, out.stdout
        # A user who may only look leaves the last two places to admins.
        lookers = [env.connect(dbname="pgweir", user="second") for _ in range(2)]
        refused = psql(env, "dbname=pgweir user=second", "-c", "show version", check=False)
        assert refused.returncode == 2 and "max_console_connections" in refused.stdout, refused.stdout
        out = psql(env, "pgweir", "-c", "show version")
        assert "pgweir" in out.stdout, out.stdout
        assert all(looker.execute("show version").fetchone() for looker in lookers)


@pool(connection_rate=1, connection_rate_burst=3)
def test_libpq_is_told_of_the_connection_rate(env):
    """At whatever point of its own handshake libpq gets it; newer ones believe no text before TLS."""
    if env.against != "pgweir":
        raise Skip("about pgweir")
    time.sleep(3.5)  # what the harness has used up
    for mode in ("disable", "prefer"):
        found = []
        for _ in range(6):
            try:
                psycopg.connect(**env.parameters(sslmode=mode)).close()
                found.append("in")
            except psycopg.OperationalError as refused:
                found.append(str(refused))
        assert found.count("in") >= 1, found
        refused = [text for text in found if text != "in"]
        known = ("connection_rate",) if mode == "disable" else ("connection_rate", "during SSL exchange")
        assert refused and all(any(part in text for part in known) for text in refused), found
        time.sleep(3.2)


@pool(auth_failure_delay="300ms", auth_failure_delay_max="1s", seconds=90)
def test_wrong_passwords_wait_and_right_ones_do_not(env):
    if env.against != "pgweir":
        raise Skip("about pgweir")
    took = []
    for _ in range(5):
        began = time.monotonic()
        try:
            psycopg.connect(**env.parameters(password="wrong"))
            raise AssertionError("came in")
        except psycopg.OperationalError as refused:
            assert "password authentication failed" in str(refused), refused
        took.append(time.monotonic() - began)
    assert max(took[:3]) < 0.3 and took[3] > 0.28 and took[4] > 0.55, took
    began = time.monotonic()
    assert env.connect(user="second").execute("select 1").fetchone() == (1,)
    assert time.monotonic() - began < 0.3
    assert env.connect(password=PASSWORD).execute("select 1").fetchone() == (1,)
