"""pgweir --check --running against the console of a running pgweir, and against what is none."""

from harness import pgweir, process
from harness.pgweir import Pgweir
from harness.scripted import Scripted


def ask(daemon):
    return pgweir.run("--check", "--running", daemon.ini)


def rows(output):
    """The printed table: {what: (now, after, effect)}."""
    lines = [line.split("  ") for line in output.splitlines() if "  " in line]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells and cells[0] == ["WHAT", "NOW", "AFTER", "EFFECT"], output
    return {row[0]: tuple(row[1:]) for row in cells[1:]}


def change(daemon, old, new):
    with open(daemon.ini, encoding="utf-8") as file:
        text = file.read()
    assert old in text
    with open(daemon.ini, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))


EXPECTED = {
    "pool_size": ("20", "7", "takes effect at once"),
    "listen_backlog": ("1024", "99", "needs a restart"),
    "database db: application_name": ("-", "x", "its pools get new server connections"),
    "database gone": ("host=h port=5432", "-", "its clients are closed"),
    "database new": ("-", "host=h port=5432", "takes effect at once"),
    "user bob": ("-", "pool_size=3", "takes effect at once"),
}


def test_over_the_unix_socket():
    """As user pgweir, whom nobody has listed."""
    folder = process.folder("socket")
    with Scripted() as server, Pgweir({"db": server.dsn(), "gone": server.dsn()},
                                      unix_socket_dir=folder, auth_type="md5",
                                      users={"alice": "a"}) as daemon:
        status, output = ask(daemon)
        assert status == 0 and output == "A reload would change nothing.\n", (status, output)
        daemon.settings["pool_size"] = 7
        daemon.write()
        status, output = ask(daemon)
        assert status == 0 and rows(output) == {"pool_size": EXPECTED["pool_size"]}, output


def test_with_a_password_of_the_file():
    with Scripted() as server, Pgweir({"db": server.dsn()}, auth_type="scram-sha-256",
                                      admin_users="nobody, boss",
                                      users={"boss": "a ' password", "alice": "a"}) as daemon:
        status, output = ask(daemon)
        assert status == 0 and output == "A reload would change nothing.\n", (status, output)


def test_each_effect_is_told():
    with Scripted() as server, Pgweir({"db": server.dsn(), "gone": "host=h"},
                                      admin_users="boss", pool_size=20) as daemon:
        daemon.settings["pool_size"] = 7
        daemon.settings["listen_backlog"] = 99
        daemon.databases = {"db": server.dsn() + " application_name=x", "new": "host=h"}
        daemon.sections = "[users]\nbob = pool_size=3\n"
        daemon.write()
        status, output = ask(daemon)
        assert status == 0, output
        assert rows(output) == EXPECTED, output
        daemon.reload()
        status, output = ask(daemon)
        assert status == 0, output
        assert rows(output) == {"listen_backlog": EXPECTED["listen_backlog"]}, output


def test_nobody_listens():
    with Scripted() as server:
        daemon = Pgweir({"db": server.dsn()}, admin_users="boss", start=False)
        status, output = ask(daemon)
        assert status == 1 and "cannot be reached" in output and "refused" in output, output


def test_nobody_may_ask():
    with Scripted() as server, Pgweir({"db": server.dsn()}, auth_type="scram-sha-256",
                                      admin_users="boss", users={"alice": "a"}) as daemon:
        status, output = ask(daemon)
        assert status == 1 and "whose password stands in auth_file" in output, output


def test_bad_file():
    with Scripted() as server, Pgweir({"db": server.dsn()}, admin_users="boss") as daemon:
        change(daemon, "log_stats = off", "log_stats = perhaps")
        status, output = ask(daemon)
        assert status == 1 and "log_stats" in output, output


def test_what_answers_is_no_console():
    """Some other server on that port: told, not trusted."""
    with Scripted() as server:
        daemon = Pgweir({"db": server.dsn()}, admin_users="boss", start=False)
        daemon.settings["listen_port"] = server.port
        daemon.write()
        status, output = ask(daemon)
        assert status == 1 and "not that of pgweir" in output, output
        assert server.queries == ["SHOW RELOAD"], server.queries
