"""Random sequences of what a client can do to its session."""

import random

KEYS = ("7", "8", "1, 2")
NAMES = ("alpha", "beta")
ROLES = ("second", "third")
VALUES = {
    "work_mem": ("'5MB'", "'6MB'", "default"), "statement_timeout": ("'77s'", "0", "default"),
    "search_path": ("public", "pg_catalog, public", "''", "default"), "datestyle": ("'German'", "'SQL, DMY'", "default"),
    "timezone": ("'Asia/Tokyo'", "'UTC'", "default"), "application_name": ("'renamed'", "default"),
    "default_transaction_read_only": ("off",), "client_min_messages": ("warning", "default"),
    "extra_float_digits": ("0", "3", "default"), "bytea_output": ("escape", "default"),
    "intervalstyle": ("'iso_8601'", "default"), "session_replication_role": ("replica", "default"),
    "lock_timeout": ("'66s'", "default"), "app.tenant": ("'1'", "'2'"), "app.account": ("'x'",),
}
# Names of settings that PostgreSQL does not list, for whoever looks at what is left of them.
CUSTOM = ("app.tenant", "app.account")

# Templates by kind. {set} is an assignment, {name} and {value} its parts, {listed} a name
# that PostgreSQL always knows, {key} of a lock, {id} of an object.
KINDS = {
    "settings": ["set {set}", "set {set}", "set session {set}", "set local {set}", "reset {name}", "reset all",
                 "select set_config('{name}', {value}, false)", "select set_config('{name}', {value}, true)",
                 "set work_mem = 'lots'", "set time zone 'UTC+3'", "set session characteristics as transaction isolation level serializable",
                 "set session characteristics as transaction isolation level read committed", "show {listed}"],
    "roles": ["set role {role}", "set local role {role}", "reset role", "set role none", "set session authorization {role}",
              "reset session authorization", "select current_user, session_user", "set role nobody_at_all"],
    "temporary": ["create temp table {id} (n int)", "create temp table {id} (n int) on commit drop", "drop table if exists {id}",
                  "insert into {id} values (1)", "select count(*) from {id}", "discard temp", "create temp view v{id} as select 1 as n",
                  "drop view if exists v{id}", "select n into temp {id} from facts"],
    "locks": ["select pg_advisory_lock({key})", "select pg_try_advisory_lock({key})", "select pg_advisory_unlock({key})",
              "select pg_advisory_lock_shared({key})", "select pg_advisory_unlock_all()", "select pg_advisory_xact_lock({key})"],
    "cursors": ["declare {id} cursor with hold for select n from facts order by n", "declare {id} cursor for select n from facts order by n",
                "fetch 1 from {id}", "close {id}", "close all"],
    "statements": ["prepare {id} as select 1", "prepare {id} (int) as select $1", "deallocate {id}", "deallocate all", "execute {id}"],
    "channels": ["listen {id}", "unlisten {id}", "unlisten *", "notify {id}, 'payload'", "select * from pg_listening_channels() order by 1"],
    "sequences": ["select nextval('numbers')", "select currval('numbers')", "select lastval()", "insert into other (fact) values (1) returning id",
                  "select setval('numbers', 50)", "discard sequences"],
    "seeds": ["select setseed({seed})", "set seed = {seed}", "select setseed({seed}), random()"],
    "modules": ["load 'auto_explain'", "show auto_explain.log_min_duration"],
    "functions": ["select sets('{name}', {value})", "select remembers('8MB')", "select makes_temp()", "select locks({single})",
                  "select unlocks({single})", "select listens('{id}')", "select holds()", "select prepares()", "select switches('{role}')",
                  "do $$ begin perform sets('{name}', {value}); end $$", "do $$ begin perform makes_temp(); end $$",
                  "do $$ begin perform locks({single}); end $$", "select count(*) from hidden", "select plus(1, 2)",
                  "do $$ begin begin perform sets('work_mem', '5MB'); raise 'undone'; exception when others then null; end; end $$"],
    "functions of sequences and seeds": ["select takes()", "select seeds({seed})", "select lastval()", "select currval('numbers')"],
}
CONTROL = ["begin", "begin", "commit", "commit", "rollback", "savepoint s", "rollback to s", "release s", "select 1/0", "select 1",
           "begin isolation level repeatable read", "commit and chain", "discard all", "set transaction read only"]
FORMS = ("simple", "simple", "extended", "extended", "prepared")
ENDS = ("quit", "quit", "reset", "reset in a batch", "reset in a statement")


def fill(template, draw):
    name = draw.choice(sorted(VALUES))
    value = draw.choice(VALUES[name])
    # set_config knows no default, and takes text only.
    text = "null" if value == "default" else "'" + value.replace("'", "") + "'"
    return template.format(listed=draw.choice(sorted(set(VALUES) - set(CUSTOM))), set=f"{name} = {value}", name=name, value=text,
                           key=draw.choice(KEYS), single=draw.choice(KEYS[:2]), id=draw.choice(NAMES),
                           role=draw.choice(ROLES), seed=draw.choice(("0.25", "0.5")))


class Sequence:
    """What one client does: (form, text) of each step, and how it ends."""

    def __init__(self, seed, kinds, length=14):
        draw = random.Random(seed)
        self.seed = seed
        chosen = draw.sample(sorted(kinds), min(len(kinds), draw.randint(1, 4)))
        self.steps = [self.step(draw, chosen) for _ in range(draw.randint(4, length))]
        self.end = draw.choice(ENDS)

    def text(self, draw, kinds):
        return fill(draw.choice(CONTROL if draw.random() < 0.35 else KINDS[draw.choice(kinds)]), draw)

    def step(self, draw, kinds):
        if draw.random() < 0.15:
            return "simple", "; ".join(self.text(draw, kinds) for _ in range(draw.randint(2, 3)))
        return draw.choice(FORMS), self.text(draw, kinds)

    def __str__(self):
        return "".join(f"\n      {form}: {text}" for form, text in self.steps) + f"\n      {self.end}"
