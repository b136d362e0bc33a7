"""listen_hub and the learning of state: what functions do with channels is found and taken over, what the
hub gives to a session is nobody's surprise, and texts that reset are understood in a session that was
given channels."""
import time

from harness import process, wire
from support import Turner, pool
from test_listen_hub import MAKE, hub_pids, hub_takes, notification, play

FUNCTIONS = MAKE + """
create table orders (n int);
create function on_order() returns trigger language plpgsql as
    $$ begin perform my_listen('trigger'); return new; end $$;
create trigger listens after insert on orders for each row when (new.n = 1) execute function on_order();
create function call(channel text) returns void language plpgsql as
    $$ begin perform my_listen(channel); end $$;
create function nothing(n int) returns int language plpgsql as $$ begin return n; end $$;
"""
CHANNELS = "select coalesce(string_agg(c, ' ' order by c), '') from pg_listening_channels() c"
RELEASE = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"


def state(**settings):
    return pool(**{"auth": "trust", "admin_users": "raw", "max_overflow": 0, "listen_hub": "on", **settings})


def told(client, *messages):
    """Channels and payloads that come with the answer."""
    result = client.ask(*(messages or (wire.query("select 1"),)))
    assert result.error is None, result
    return [notification(item)[1:] for item in result.messages if item.type == "A"]


def hub_up(env):
    """Somebody listens by it, so that what comes next is taken over at once."""
    first = env.raw()
    assert first.query("listen first").error is None
    hub_takes(env, 1)
    return first


def assert_free(env):
    """Nobody keeps a server connection, and nobody finds a channel of somebody else there."""
    process.wait_until(lambda: not env.show("SHOW PINS"), "nobody is pinned")
    holders = [env.raw() for _ in range(env.limit)]
    for holder in holders:
        assert holder.query("begin").error is None
        assert holder.value(CHANNELS) == ""
    for holder in holders:
        holder.query("rollback")
        holder.close()


@state(pool_size=2)
def test_given_channels_are_no_surprise(env):
    """Texts that the pool has not seen, in sessions with channels of a hub: each costs its one question,
    and what is found there is neither a surprise nor what these texts have left."""
    env.admin().execute(FUNCTIONS)
    listeners = [env.raw() for _ in range(6)]
    for number, client in enumerate(listeners):
        assert client.query(f"listen a; listen own_{number}").error is None
    hub_takes(env, 6)

    def work():
        for number, client in enumerate(listeners):
            assert client.query(f"select nothing({number})").error is None
            assert client.prepared("select nothing($1::int)", (str(number),)).error is None
            assert client.query("begin; insert into facts values (1); select nothing(2); commit").error is None
            assert client.query("do $$ begin perform nothing(3); end $$").error is None
    work()
    before = env.pooler.counters()
    for _ in range(5):
        work()
    after = env.pooler.counters()
    assert after["state_questions"] == before["state_questions"], (before, after)
    assert after["state_surprises"] == 0, after["state_surprises"]
    for number, client in enumerate(listeners):
        assert client.value(CHANNELS) == f"a own_{number}"
    assert_free(env)


@state(pool_size=2)
def test_channels_given_up_while_other_state_stays(env):
    """The session was given channels and is kept for a temporary table: when the last channel goes, the client
    has no listener any more, and what it says next is asked about as of anybody."""
    env.admin().execute(FUNCTIONS)
    for number, leave in enumerate(("unlisten *", "unlisten kept", "select nothing(0); unlisten kept")):
        client = hub_up(env)
        assert client.query("listen kept").error is None
        assert client.query("create temp table mine (n int)").error is None
        assert client.value(CHANNELS) == "first kept"
        assert client.query("unlisten first").error is None and client.query(leave).error is None
        for turn in range(3):
            assert client.value(f"select nothing({turn}) as after_{number}_{turn}") == str(turn)
        assert client.value(CHANNELS) == ""
        assert client.query("listen again").error is None and client.value(CHANNELS) == "again"
        assert client.query("drop table mine").error is None
        client.close()
    assert env.pooler.counters()["state_surprises"] == 0
    assert_free(env)


@state(pool_size=2)
def test_functions_that_listen(env):
    """By EXECUTE in a function, a trigger, a DO block and a prepared statement, without a word of it in any
    text: found by asking, taken over by the hub, and the client is free again."""
    env.admin().execute(FUNCTIONS)
    hub_up(env)
    sender = env.raw()
    ways = {
        "function": [wire.query("select call('function')")],
        "trigger": [wire.query("insert into orders values (1)")],
        "block": [wire.query("do $$ begin perform call('block'); end $$")],
        "prepared": [wire.parse("select call($1)", "p"), wire.bind(("prepared",), "p"), wire.execute(),
                     wire.sync()],
    }
    clients = {}
    for number, (channel, messages) in enumerate(ways.items()):
        client = clients[channel] = env.raw()
        assert client.ask(*messages).error is None
        hub_takes(env, 2 + number)
    for channel, client in clients.items():
        assert sender.query(f"notify {channel}, 'to {channel}'").error is None
        assert notification(client.read())[1:] == (channel, f"to {channel}")
    turner = Turner(env)
    for _ in range(3):
        turner.turn()
        for channel, client in clients.items():
            assert client.value(CHANNELS) == channel
    turner.end()
    assert_free(env)


@state(pool_size=2)
def test_a_listener_is_the_first_to_call_what_listens(env):
    """The session has channels anyway, given by the hub. What a text adds to those is seen all the same, so
    that the text is known to listen when somebody without any says it."""
    env.admin().execute(FUNCTIONS)
    first, other = hub_up(env), env.raw()
    assert first.query("select call('added')").error is None
    assert env.pooler.counters()["state_surprises"] == 1
    for _ in range(2):  # one that is already there is none
        assert first.query("select call('added')").error is None
    assert other.query("select call('theirs')").error is None
    hub_takes(env, 2)
    sender = env.raw()
    assert sender.value(CHANNELS) == ""
    sender.query("notify added, '1'; notify theirs, '2'")
    assert notification(first.read())[1:] == ("added", "1")
    assert notification(other.read())[1:] == ("theirs", "2")
    assert first.value(CHANNELS) == "added first" and other.value(CHANNELS) == "theirs"
    assert env.pooler.counters()["state_surprises"] == 1
    assert_free(env)


@state(pool_size=2)
def test_functions_that_cease_to_listen(env):
    """First said by somebody without channels, so the text is known to leave nothing; then by listeners."""
    env.admin().execute(FUNCTIONS)
    plain, sender = env.raw(), env.raw()
    for _ in range(2):
        assert plain.query("select quit('a')").error is None
    listeners = [env.raw() for _ in range(4)]
    for client in listeners:
        assert client.query("listen a; listen b").error is None
    hub_takes(env, 4)
    for client in listeners[:2]:
        assert client.query("select quit('a')").error is None
    sender.query("notify a, '1'; notify b, '2'")
    for number, client in enumerate(listeners):
        wanted = [("b", "2")] if number < 2 else [("a", "1"), ("b", "2")]
        assert [notification(client.read())[1:] for _ in wanted] == wanted
        assert client.value(CHANNELS) == ("b" if number < 2 else "a b")
    assert env.pooler.counters()["state_surprises"] == 0


@state(pool_size=2)
def test_texts_that_reset_end_channels(env):
    """UNLISTEN *, DISCARD ALL and what pools of drivers say at a release: understood without a question, in
    a session that was given its channels for this very transaction; with settings of the login, which come
    back at once. Nothing is told afterwards, everything before."""
    sender = env.raw()
    for text, settings in (("unlisten *", {}), ("discard all", {}), (RELEASE, {}),
                           ("discard all", {"application_name": "one", "options": "-c work_mem=3MB"}),
                           (RELEASE, {"application_name": "two", "options": "-c work_mem=3MB"})):
        client, direct = env.raw(**settings), env.cluster_client(**settings)
        for side in (client, direct):
            assert side.query("listen a; listen b").error is None
        hub_takes(env, 1)
        for side in (client, direct):
            side.query("set work_mem = '5MB'")
        for number in range(3):
            sender.query(f"notify a, '{number}'")
            before = env.pooler.counters()["state_questions"]
            for side in (client, direct):
                assert notification(side.read())[1:] == ("a", f"{number}")
            for side in (client, direct):
                assert told(side, wire.query(text)) == []
            assert env.pooler.counters()["state_questions"] == before, text
            hub_takes(env, 0)
            sender.query("notify a, 'never'")
            for side in (client, direct):
                assert told(side) == [] and side.value(CHANNELS) == ""
            assert client.value("show work_mem") == direct.value("show work_mem")
            for side in (client, direct):
                assert side.query("listen a").error is None
            hub_takes(env, 1)
        for side in (client, direct):
            side.close()
        hub_takes(env, 0)


@state(pool_size=3, seconds=120)
def test_plays_of_clients_with_settings(env):
    """The random plays, by clients whose login asked for settings: a reset of everything brings those
    back before it is answered."""
    count = sum(play(env, seed, 40, application_name="player", options="-c work_mem=3MB")[0] for seed in range(100, 104))
    assert count > 30, count


@state(pool_size=3, state_sampling=1, seconds=120)
def test_plays_with_samples(env):
    """The same while every other transaction is asked about, in the midst of handovers."""
    count = sum(play(env, seed, 40)[0] for seed in range(200, 204))
    assert count > 30, count


@state(pool_size=2, state_sampling=1)
def test_samples_of_listeners(env):
    """Asked about again and again: neither the channels nor the hub's own marks are ever a surprise."""
    listeners, sender = [env.raw() for _ in range(4)], env.raw()
    turner = Turner(env)
    for turn in range(6):
        for number, client in enumerate(listeners):
            assert client.query(f"listen c{turn}_{number}").error is None
            assert client.query("select 1").error is None
            if turn > 2:
                assert client.query(f"unlisten c{turn - 3}_{number}").error is None
        turner.turn()
    turner.end()
    for number, client in enumerate(listeners):
        sender.query("; ".join(f"notify c{turn}_{number}, '{turn}'" for turn in range(6)))
        assert [notification(client.read())[2] for _ in range(3)] == ["3", "4", "5"]
    counters = env.pooler.counters()
    assert counters["state_surprises"] == 0 and counters["state_questions"] > 40, counters
    # The steps of a handover are none of the client's transactions.
    assert counters["state_questions"] < 1.2 * counters["transactions"], (counters["state_questions"], counters["transactions"])
    assert_free(env)


@state(pool_size=2)
def test_told_while_a_question_is_answered(env):
    """A client that is kept for a temporary table is asked about now and then. What the hub hears
    meanwhile is told when that has been answered, and not only with whatever comes next."""
    client, sender = env.raw(), env.raw()
    client.query("listen a")
    hub_takes(env, 1)
    client.query("create temp table mine (n int)")
    client.query("select 1")
    admin = env.admin()
    admin.execute("begin")
    admin.execute("lock table pg_catalog.pg_cursors in access exclusive mode")  # only the question reads it
    client.query("select 2")  # a text that is known
    process.wait_until(lambda: env.backends("pid", "wait_event_type = 'Lock'"), "it is asked")
    sender.query("notify a, 'meanwhile'")
    time.sleep(0.2)
    admin.execute("rollback")
    assert notification(client.read(timeout=5))[1:] == ("a", "meanwhile")


# --- other settings of the pool -------------------------------------------------------------------


@state(pool_size=2, state_listen="reject")
def test_hub_wins_over_reject(env):
    """state_listen says what becomes of LISTEN where no hub takes it over."""
    rejects(env)


@state(pool_size=2, state_listen="allow")
def test_hub_wins_over_allow(env):
    rejects(env)


def rejects(env):
    env.admin().execute(FUNCTIONS)
    clients, sender = [env.raw() for _ in range(4)], env.raw()
    for number, client in enumerate(clients):
        text = "listen a" if number % 2 else "select call('a')"
        assert client.query(text).error is None
    hub_takes(env, 4)
    sender.query("notify a, 'all'")
    for client in clients:
        assert notification(client.read())[1:] == ("a", "all")
    # A client that the hub cannot speak to keeps its server connection, also then.
    latin = env.raw(client_encoding="LATIN1")
    assert latin.query("listen a").error is None
    assert latin.value(CHANNELS) == "a"
    latin.close()
    # Without a hub the policy holds again; those who listen by it already go on.
    rejecting = env.settings["state_listen"] == "reject"
    env.pooler.settings["listen_hub"] = "off"
    env.pooler.reload()
    late = env.raw()
    late.send(wire.query("listen a"))
    said = late.read_until("Z")
    if rejecting:
        error = [item for item in late.rest() if item.type == "E"][-1].fields
        assert error["C"] == "0A000" and "LISTEN" in error["M"], error
    else:
        assert not [item for item in said if item.type == "E"]
        process.wait_until(lambda: not env.show("SHOW PINS"), "LISTEN is left to whoever is next")
        late.query("unlisten *")
    sender.query("notify a, 'still'")
    for client in clients:
        assert notification(client.read())[1:] == ("a", "still")
        assert client.value(CHANNELS) == "a"


@state(pool_size=3, pool_mode="session")
def test_session_mode_needs_no_hub(env):
    """A client that has its connection for itself listens there."""
    client, sender = env.raw(), env.raw()
    client.query("listen a")
    sender.query("notify a, '1'")
    assert notification(client.read())[1:] == ("a", "1")
    assert not hub_pids(env) and env.show("SHOW HUBS") == []
    client.close()
    other = env.raw()
    assert other.value(CHANNELS) == ""


@state(pool_size=3)
def test_session_mode_by_reload(env):
    """Who listens by the hub goes on doing so when the pool becomes one of session mode, and can cease to."""
    client, sender = env.raw(), env.raw()
    client.query("listen a; listen b")
    hub_takes(env, 1)
    env.pooler.settings["pool_mode"] = "session"
    env.pooler.reload()
    for number in range(3):
        assert client.value(CHANNELS) == "a b", number
        sender.query(f"notify a, '{number}'")
        assert notification(client.read())[1:] == ("a", f"{number}")
        assert told(client, wire.query("notify b, 'own'")) == [("b", "own")]
    assert client.query("listen c").error is None
    assert client.query("unlisten a").error is None
    sender.query("notify a, 'never'; notify c, 'new'")
    assert notification(client.read())[1:] == ("c", "new")
    assert client.query("discard all").error is None
    sender.query("notify b, 'never'; notify c, 'never'")
    assert told(client) == [] and client.value(CHANNELS) == ""


@state(pool_size=3)
def test_pause_and_resume(env):
    """PAUSE takes no client's notifications away: the hub's connection is none of the pool's."""
    client, sender = env.raw(), env.cluster_client()
    client.query("listen a")
    hub_takes(env, 1)
    env.show("PAUSE")
    sender.query("notify a, 'paused'")
    assert notification(client.read())[1:] == ("a", "paused")
    env.show("RESUME")
    assert client.value(CHANNELS) == "a"
