"""node-postgres (npm package pg, or Debian's node-pg)."""
import json
import os
import pathlib
import shutil
import subprocess

from support import Noise, Skip, Watch, clean_environment, pool, run_program, until_rotated

SCRIPT = pathlib.Path(__file__).parent / "node_driver.js"


def modules():
    """Where node finds pg: Debian's own, or a cache that npm fills once."""
    if not shutil.which("node"):
        raise Skip("node is not installed")
    if os.path.isdir("/usr/share/nodejs/pg"):
        return "/usr/share/nodejs"
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "pgweir-tests" / "node"
    found = cache / "node_modules"
    if not (found / "pg-cursor").is_dir():
        if not shutil.which("npm"):
            raise Skip("neither node-pg nor npm is installed")
        cache.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(cache), "pg@8", "pg-cursor@2"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=40, check=False, env=clean_environment())
        if done.returncode or not (found / "pg").is_dir():
            raise Skip("npm install pg failed: " + done.stdout.strip().splitlines()[-1])
    return str(found)


def run(env, scenario, clients=None, least=2):
    until_rotated(lambda: run_once(env, scenario), clients=clients, least=least)


def run_once(env, scenario):
    with Watch(env) as watch, Noise(env):
        done = run_program(["node", SCRIPT, scenario], env, seconds=50, environment={"NODE_PATH": modules()})
        if "no pg-cursor" in done.stdout:
            raise Skip("pg-cursor is not installed")
        for client, pid in json.loads(done.stdout.splitlines()[-1])["served"]:
            watch.served(client, pid)
    if env.pooled or scenario != "timeouts":  # PostgreSQL itself does not notice that a client has gone
        env.assert_no_open_transaction()
    return watch


@pool(pool_size=3)
def test_named_statements(env):
    """C3-01, C3-11: twelve clients use the same names for different statements."""
    run(env, "named", clients=12)


@pool(pool_size=4)
def test_pool(env):
    run(env, "pool", least=12)


@pool(pool_size=2)
def test_queued_queries(env):
    run(env, "queued")


@pool(pool_size=2)
def test_startup_settings(env):
    run(env, "settings")


@pool(pool_size=2)
def test_cursors(env):
    """Portals that are read in pieces with Flush, and left early."""
    run(env, "cursors", clients=6)


@pool(pool_size=2)
def test_timeouts(env):
    """A client that gives up closes its socket: its statement does not run on."""
    run(env, "timeouts")
