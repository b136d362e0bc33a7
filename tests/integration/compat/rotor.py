"""Moves the clients of a script between the server connections of their pool, and knows that it did."""

from harness import wire

TAKE = "begin; select pg_backend_pid()"
PATIENCE = 2        # until a client is said to be kept
PATIENCE_PIN = 0.3  # where it may be: what SHOW PINS says may be a moment old


class NotMoved(Exception):
    """A client was kept where it is, and its script does not say so."""


class Taker:
    """A client that takes a server connection by beginning a transaction on it."""

    def __init__(self, client):
        self.client = client
        self.backend = None
        self.owed = 0  # answers to COMMIT: whoever waits for the connection gets it meanwhile

    def ask(self):
        self.client.send(wire.query(TAKE))

    def taken(self, patience):
        """Whether there was one to be had."""
        self.client.results(self.owed)
        self.owed = 0
        try:
            self.backend = int(wire.Result(self.client.read_until("Z", patience)).value)
            return True
        except TimeoutError:
            self.client.cancel()
            answer = wire.Result(self.client.read_until("Z", PATIENCE))
            if answer.error is None:
                self.give()
            elif answer.status != "I":
                self.client.query("rollback")
            return False

    def give(self, later=False):
        """With `later` the answer is read when there is time for it."""
        self.client.send(wire.query("commit"))
        self.owed += 1
        self.backend = None
        if not later:
            self.client.results(self.owed)
            self.owed = 0

    def end(self):
        self.client.send(*([wire.query("commit")] if self.backend else []), wire.terminate())
        self.client.rest()
        self.client.close()


class Rotor:
    """Between two turns it holds one server connection of the pool in a transaction: the one that the client
    which comes next had last."""

    def __init__(self, connect, size, observer):
        self.takers = [Taker(connect()) for _ in range(size)]
        self.observer = observer

    def begin(self, pins):
        """A new script. `pins` counts the server connections that clients keep, or is None where none may."""
        self.pins = pins
        self.met = {}        # backends of each client, in their order
        self.avoided = None  # the client that comes next must not meet what it had last
        self.unmoved = []
        self.turn(None)

    def joined(self, client):
        self.met.setdefault(client, [])

    @property
    def exact(self):
        """There is one client, and the only server connection that it can have had is the one that is free."""
        return len(self.takers) == 2 and not self.pins

    def served(self, client):
        """Looks which backend has just served this client."""
        if self.exact:
            self.met[client].append(None)  # turn() finds out
            return
        held = ",".join(str(taker.backend) for taker in self.takers if taker.backend) or "0"
        rows = self.observer.query(
            "select pid from pg_stat_get_activity(null) where datid = (select oid from pg_database where datname = "
            "current_database()) and backend_type = 'client backend' and client_addr is not null and "
            f"pid not in ({held}) order by query_start desc nulls last limit 1").rows
        if rows:
            backend = int(rows[0][0])
            if (client, backend) == self.avoided:
                self.unmoved.append(client)
            self.met[client].append(backend)
        self.avoided = None

    def turn(self, client):
        """Whoever comes next does not get what `client` had last."""
        old = [taker for taker in self.takers if taker.backend]
        kept = self.pins() if self.pins else 0
        free = [taker for taker in self.takers if not taker.backend][:max(0, len(self.takers) - len(old) - kept)]
        for taker in free:
            taker.ask()
        taken = [taker for taker in free if taker.taken(PATIENCE_PIN if self.pins else PATIENCE)]
        if len(taken) < len(free) and not self.pins:
            raise NotMoved("its server connection is kept for it")
        if self.exact and taken:
            self.met = {name: [pid or taken[0].backend for pid in met] for name, met in self.met.items()}
        had = self.met.get(client) or [None]
        self.avoided = (client, had[-1])
        # When all others are kept, the one that is held goes to whoever needs one.
        chosen = next((taker for taker in old + taken if taker.backend == had[-1]), taken[0] if taken else None)
        for taker in old + taken:
            if taker is not chosen:
                taker.give(self.exact)

    def end(self):
        for taker in self.takers:
            taker.end()

    def moved(self):
        """How many clients were served by two backends or more."""
        return sum(len(set(met)) > 1 for met in self.met.values())
