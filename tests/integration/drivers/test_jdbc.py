"""pgjdbc (Debian's libpostgresql-jdbc-java)."""
import os
import pathlib
import shutil

from support import Noise, Skip, Watch, pool, run_program, until_rotated

SOURCE = pathlib.Path(__file__).parent / "JdbcDriver.java"
JAR = "/usr/share/java/postgresql.jar"


SOCKETS = "/usr/share/java/junixsocket-common.jar"  # Debian's libjunixsocket-java: Unix sockets for Java


def run(env, scenario, clients=None, host=None, more=(), properties=()):
    if not shutil.which("javac") or not os.path.exists(JAR):
        raise Skip("no javac or no libpostgresql-jdbc-java")
    if clients:
        until_rotated(lambda: run_once(env, scenario, host, more, properties), clients=clients)
    else:
        run_once(env, scenario, host, more, properties)


def run_once(env, scenario, host, more, properties):
    with Watch(env) as watch, Noise(env):
        done = run_program(["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", ":".join([JAR, *more]), SOURCE,
                            scenario, host or env.host, env.port, env.dbname, env.user, env.password, *properties], env, seconds=75)
        for line in done.stdout.splitlines():
            if line.startswith("served "):
                _, client, pid = line.split()
                watch.served(client, pid)
    env.assert_no_open_transaction()
    return watch


@pool(pool_size=2, seconds=80)
def test_prepare_thresholds(env):
    """prepareThreshold 0, 1, 5, -1 and the query modes, the same statements over many transactions."""
    run(env, "thresholds", clients=48)


@pool(pool_size=2)
def test_fetch_size(env):
    run(env, "fetch", clients=6)


@pool(pool_size=2)
def test_batches(env):
    run(env, "batches", clients=10)


@pool(pool_size=2)
def test_large_objects(env):
    run(env, "largeObjects", clients=4)


@pool(pool_size=4)
def test_cancel_and_timeout(env):
    run(env, "cancels")


@pool(pool_size=2)
def test_sessions(env):
    run(env, "sessions", clients=3)


@pool(pool_size=2)
def test_copy(env):
    run(env, "copies", clients=4)


@pool(pool_size=2, unix_socket_dir="{tmp}")
def test_unix_socket(env):
    if not os.path.exists(SOCKETS):
        raise Skip("no libjunixsocket-java")
    folder = env.cluster.folder if env.direct else env.tmp
    if env.against == "pgweir":
        assert (folder / f".s.PGSQL.{env.port}").is_socket()
    run(env, "thresholds", clients=48, host="localhost", more=[SOCKETS], properties=[
        "socketFactory=org.newsclub.net.unix.AFUNIXSocketFactory$FactoryArg", f"socketFactoryArg={folder}/.s.PGSQL.{env.port}"])
