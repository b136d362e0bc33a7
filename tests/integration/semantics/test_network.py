"""The ways in and out: several addresses to listen on, IPv4, IPv6 and Unix sockets on either side."""
import threading
import time

import psycopg
from support import Skip, Turner, has_ipv6, pool


def check_ways(env, ways, server):
    """A client by each way; all of them over the same two server connections, which are `server`."""
    turner = Turner(env)
    clients = {way: env.connect(host=way) for way in ways}
    met = {way: set() for way in ways}
    for number in range(4):
        for way, client in clients.items():
            with client.transaction():
                pid, address = client.execute("select pg_backend_pid(), host(inet_server_addr())").fetchone()
                assert address == server, (way, address)
                assert client.execute("select %s::text", (f"{way} {number}",), prepare=True).fetchone() == (f"{way} {number}",)
            met[way].add(pid)
        turner.turn()
    assert all(len(pids) == 2 for pids in met.values()) and len(set.union(*met.values())) == 2, met
    turner.end()
    for way, client in clients.items():
        # The key that the client was given and the way to the server both lead to its statement.
        timer = threading.Timer(0.3, client.cancel)
        timer.start()
        began = time.monotonic()
        try:
            client.execute("select pg_sleep(15)")
            raise AssertionError(f"{way}: not cancelled")
        except psycopg.errors.QueryCanceled:
            assert time.monotonic() - began < 10
        timer.join()
        assert client.execute("select 'goes on'").fetchone() == ("goes on",)
    env.assert_no_open_transaction()


@pool(pool_size=2, auth="scram", listen_addr="127.0.0.1, 127.0.0.2", unix_socket_dir="{tmp}")
def test_several_addresses_and_a_unix_socket(env):
    if env.against == "pgweir":
        check_ways(env, ["127.0.0.1", "127.0.0.2", str(env.tmp)], "127.0.0.1")


@pool(pool_size=2, auth="scram", listen_addr="127.0.0.1, ::1", unix_socket_dir="{tmp}", entry="host=::1")
def test_ipv6_on_both_sides(env):
    if not has_ipv6():
        raise Skip("no IPv6 here")
    if env.against == "pgweir":
        check_ways(env, ["::1", "127.0.0.1", str(env.tmp)], "::1")


@pool(pool_size=2, auth="scram", listen_addr="*")
def test_all_addresses(env):
    if env.against == "pgweir":
        check_ways(env, ["127.0.0.1", "127.0.0.3"] + (["::1"] if has_ipv6() else []), "127.0.0.1")
