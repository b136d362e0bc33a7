"""Clients are killed with SIGKILL in the middle of transactions."""
import pathlib
import random
import subprocess
import sys
import threading
import time

from harness.process import wait_until
from support import Watch, clean_environment, pool

VICTIM = pathlib.Path(__file__).parent / "victim.py"


@pool(pool_size=5, seconds=60)
def test_killed_clients_leave_nothing_behind(env):
    """C3-70, C3-78: rolled back before anyone else gets the server connection, and the pool is
    full again. Killed idle in a transaction, in a running statement and in a COPY."""
    observer = env.admin()
    observer.execute("create table purses (id int primary key, balance int not null);"
                     "create table done (tag text); create table copied (tag text, body text);"
                     "insert into purses select n, 100 from generate_series(1, 20) n")
    random.seed(7)
    said = []

    def victim(number, style):
        child = subprocess.Popen(
            [sys.executable, VICTIM, env.host, str(env.port), env.user, env.password, env.dbname,
             f"v{number}", style], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())
        time.sleep(1.0 + random.random() * 1.5)
        early = child.poll()
        child.kill()
        output, errors = child.communicate()
        # Deadlocks between victims are PostgreSQL's to report, nothing else may end one early.
        if early is not None and "deadlock detected" not in errors:
            raise AssertionError(f"client {number} ended by itself: {errors[-1500:]}")
        said.extend(output.split())

    def bystander(number, watch):
        connection = env.connect()
        for turn in range(60):
            with connection.transaction():
                watch.served(number, connection.execute("select pg_backend_pid()").fetchone()[0])
                assert connection.execute("select sum(balance) from purses").fetchone() == (2000,)
            time.sleep(0.03)

    with Watch(env) as watch:
        others = [threading.Thread(target=bystander, args=(number, watch)) for number in range(4)]
        for other in others:
            other.start()
        number = 0
        for style in ("idle", "running", "copying"):
            batch = []
            for _ in range(5):
                number += 1
                batch.append(threading.Thread(target=victim, args=(number, style)))
                batch[-1].start()
            for thread in batch:
                thread.join()
        for other in others:
            other.join()
    env.assert_no_open_transaction(seconds=10)
    assert observer.execute("select sum(balance) from purses").fetchone() == (2000,)
    done = [tag for tag, in observer.execute("select tag from done")]
    assert len(done) == len(set(done)) and set(said) <= set(done), "committed work is lost or doubled"
    # A client may be killed after its commit and before it could say so: one each at most.
    assert len(set(done) - set(said)) <= number
    watch.assert_rotation(clients=4, distinct=env.limit + number)

    # The pool refills: as many clients as it has connections are inside transactions at once.
    holders = [env.connect() for _ in range(env.limit)]
    pids = set()
    for holder in holders:
        holder.execute("begin")
        pids.add(holder.execute("select pg_backend_pid()").fetchone()[0])
    assert len(pids) == env.limit
    for holder in holders:
        holder.execute("commit")


@pool(pool_size=1, auth="trust", seconds=30)
def test_client_that_vanishes_in_a_statement_is_cancelled(env):
    """The statement is cancelled, the transaction rolled back and the server connection reused:
    the next client gets the same backend at once, not when the statement would have ended."""
    observer = env.admin()
    observer.execute("create table facts (n int)")
    child = subprocess.Popen(
        [sys.executable, "-c",
         "import psycopg, sys\n"
         "c = psycopg.connect(sys.argv[1])\n"
         "c.execute('insert into facts values (1)')\n"
         "print(c.execute('select pg_backend_pid()').fetchone()[0], flush=True)\n"
         "c.execute('select pg_sleep(30)')\n",
         " ".join(f"{key}='{value}'" for key, value in env.parameters(password=None).items())],
        stdout=subprocess.PIPE, text=True, env=clean_environment())
    pid = int(child.stdout.readline())
    wait_until(lambda: observer.execute("select 1 from pg_stat_activity where pid = %s and state = 'active' and "
                                        "query like '%%pg_sleep%%'", (pid,)).fetchone(), "the statement runs")
    child.kill()
    child.wait()
    child.stdout.close()
    began = time.monotonic()
    if env.pooled:
        client = env.connect()
        assert client.execute("select count(*) from facts").fetchone() == (0,)
        assert time.monotonic() - began < 5, "waited for the statement of a client that has gone"
        assert client.execute("select pg_backend_pid()").fetchone() == (pid,), "the backend was thrown away"
    else:
        # PostgreSQL itself notices only at the next write.
        observer.execute("select pg_terminate_backend(%s)", (pid,))
        assert env.connect().execute("select count(*) from facts").fetchone() == (0,)
