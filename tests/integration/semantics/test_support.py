"""The checks themselves: a test of pooling that could not fail would prove nothing."""
import threading

from support import Turner, Watch, pool


@pool(pool_size=2)
def test_turner_forces_rotation(env):
    """Whatever order the pool takes idle connections in, each turn moves the client."""
    client = env.connect()
    turner = Turner(env)
    last = None
    with Watch(env) as watch:
        for _ in range(6):
            pid = client.execute("select pg_backend_pid()").fetchone()[0]
            watch.served("client", pid)
            assert pid != last or not env.pooled, "the client was not moved"
            last = pid
            turner.turn()
    turner.release()
    watch.assert_rotation(clients=1)


@pool(pool_size=3)
def test_concurrent_clients_share_the_limit(env):
    """Twelve clients in short transactions over three server connections."""
    def work(number, watch):
        connection = env.connect()
        for _ in range(40):
            with connection.transaction():
                watch.served(number, connection.execute("select pg_backend_pid()").fetchone()[0])
    with Watch(env) as watch:
        threads = [threading.Thread(target=work, args=(number, watch)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    watch.assert_rotation(clients=12)
    env.assert_no_open_transaction()
