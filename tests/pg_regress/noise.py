"""Clients that make the server connections go round while the suite runs, and check what they get."""

import random
import threading

from harness import wire


class Clients:
    """`count` of them, each with settings of its own, from enter to exit. exit raises what went
    wrong in one of them."""

    def __init__(self, count, port):
        self.port = port
        self.stopped = threading.Event()
        self.problems = []
        self.backends = [set() for _ in range(count)]
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True)
                        for number in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)
        if kind is None and self.problems:
            raise AssertionError(self.problems[0])
        if self.backends:
            print("noise: backends met by each client:", *(len(met) for met in self.backends))

    def run(self, number):
        chance = random.Random(number)
        try:
            with wire.Client(self.port, "127.0.0.1", timeout=300) as client:
                client.login("postgres", "postgres", application_name=f"noise {number}")
                while not self.stopped.is_set():
                    self.turn(client, number, chance)
        except (OSError, wire.Closed, wire.ServerError, AssertionError) as problem:
            self.problems.append(f"noise client {number}: {problem!r}")

    def turn(self, client, number, chance):
        memory = f"{1000 + number}kB"
        steps = [f"set work_mem = '{memory}'", "select pg_sleep(0.01)",
                 "begin; select 1; rollback", "select 1/0"]
        client.query(chance.choice(steps))
        client.query(f"set work_mem = '{memory}'")
        rows = client.query("select current_setting('work_mem'), pg_backend_pid(), "
                            "current_setting('application_name')").rows
        assert rows and rows[0][0] == memory and rows[0][2] == f"noise {number}", rows
        self.backends[number].add(rows[0][1])
        self.stopped.wait(chance.random() / 20)
