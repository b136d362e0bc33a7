"""pgx version 4 (Debian's golang-github-jackc-pgx-v4-dev)."""
import fcntl
import os
import pathlib
import shutil
import subprocess

from support import Noise, Skip, Watch, clean_environment, pool, run_program, until_rotated

SOURCE = pathlib.Path(__file__).parent / "pgx_driver.go"
GOPATH = "/usr/share/gocode"


def program():
    """Built once; go's own cache makes later runs quick."""
    if not shutil.which("go") or not os.path.isdir(f"{GOPATH}/src/github.com/jackc/pgx/v4"):
        raise Skip("no go or no golang-github-jackc-pgx-v4-dev")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "pgweir-tests"
    cache.mkdir(parents=True, exist_ok=True)
    built = cache / "pgx_driver"
    with open(cache / "pgx_driver.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists() or built.stat().st_mtime < SOURCE.stat().st_mtime:
            done = subprocess.run(["go", "build", "-o", str(built), str(SOURCE)], cwd=cache, check=False, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                  env=clean_environment(GO111MODULE="off", GOPATH=GOPATH, GOFLAGS="", CGO_ENABLED="0",
                                                        GOCACHE=str(cache / "go")))
            assert done.returncode == 0, done.stdout
    return built


def run(env, scenario, clients=None, least=2):
    until_rotated(lambda: run_once(env, scenario), clients=clients, least=least)


def run_once(env, scenario):
    with Watch(env) as watch, Noise(env):
        done = run_program([program(), scenario], env, seconds=100)
        for line in done.stdout.splitlines():
            _, client, pid = line.split()
            watch.served(client, pid)
    if env.pooled or scenario != "cancels":  # PostgreSQL itself does not notice that a client has gone
        env.assert_no_open_transaction()
    return watch


@pool(pool_size=2, seconds=110)
def test_prepared_cache_and_simple_protocol(env):
    """The default statement cache, and the simple protocol."""
    run(env, "modes", clients=12)


@pool(pool_size=2, seconds=110)
def test_describe_cache(env):
    """C3-10: described in one transaction, bound in another."""
    run(env, "describe", clients=6)


@pool(pool_size=2, seconds=110)
def test_prepared_statements(env):
    """C3-01, C3-14: one name with another text in every client; DEALLOCATE in and out of use."""
    run(env, "prepared", clients=6)


@pool(pool_size=2, seconds=110)
def test_batches_and_copy(env):
    run(env, "batches", clients=6)


@pool(pool_size=4, seconds=110)
def test_pool(env):
    run(env, "pool", least=12)


@pool(pool_size=3, seconds=110)
def test_context_that_ends(env):
    run(env, "cancels")
