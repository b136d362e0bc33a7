"""What clients prove to pgweir, and what pgweir proves to servers."""

import base64
import struct
import time

from common import pooled

from harness import scripted, wire
from harness.scripted import Scripted
from harness.testing import cases

SECRET = "pass wörd\"'\\=,"


def encoded(kind, user="alice", secret=SECRET):
    return {"plain": secret, "md5": wire.md5_secret(user, secret),
            "scram": wire.scram_secret(secret)}[kind]


@cases(plain_plain=("plain", "plain"), md5_plain=("md5", "plain"), md5_md5=("md5", "md5"),
       md5_scram=("md5", "scram"), scram_plain=("scram-sha-256", "plain"),
       scram_scram=("scram-sha-256", "scram"), plain_md5=("plain", "md5"),
       plain_scram=("plain", "scram"))
def test_client_proves(auth_type, stored):
    with pooled(auth_type=auth_type, users={"alice": encoded(stored)}) as (_, daemon):
        with daemon.client(secret=SECRET) as client:
            assert client.value("select 1") == "select 1"
        refusal = daemon.refused(secret="wrong")
        assert refusal["C"] == "28P01" and refusal["S"] == "FATAL", refusal
        refusal = daemon.refused(secret="")
        assert refusal["C"] == "28P01", refusal


def test_trust_asks_nothing():
    with pooled() as (_, daemon), daemon.connect() as client:
        client.send(wire.startup({"user": "anyone", "database": "db"}))
        got = client.read()
        assert got.type == "R" and got.body == b"\0\0\0\0", got


@cases(plain=("plain", "plain"), md5=("md5", "md5"), scram=("scram-sha-256", "scram"),
       scram_from_md5=("scram-sha-256", "md5"))
def test_wrong_and_unknown_look_the_same(auth_type, stored):
    def attempt(user):
        with daemon.connect() as client:
            client.send(wire.startup({"user": user, "database": "db"}))
            try:
                client.authenticate(user, "wrong")
            except wire.ServerError as refusal:
                client.expect_closed()
                return {letter: text.replace(user, "USER")
                        for letter, text in refusal.fields.items()}
        raise AssertionError("accepted")

    with pooled(auth_type=auth_type, users={"alice": encoded(stored)}) as (server, daemon):
        assert attempt("alice") == attempt("mallory")
        assert attempt("alice")["C"] == "28P01"
        assert server.attempts == 0


def challenge(daemon, user):
    with daemon.connect() as client:
        client.send(wire.startup({"user": user, "database": "db"}))
        asked = client.expect("R").body
        assert struct.unpack_from("!I", asked)[0] == 10, asked
        first = b"n,,n=,r=abcdefghijkl"
        client.send(wire.password(wire.string("SCRAM-SHA-256") + struct.pack("!I", len(first))
                                  + first))
        found = wire.attributes(wire.sasl_message(client, 11))
        return asked, found["s"], found["i"]


def test_scram_challenge_of_unknown_user_is_stable():
    with pooled(auth_type="scram-sha-256", users={"alice": encoded("scram")}) as (_, daemon):
        known = challenge(daemon, "alice")
        unknown = challenge(daemon, "mallory")
        assert unknown == challenge(daemon, "mallory"), "the salt of an unknown user changes"
        assert unknown != challenge(daemon, "mallory2"), "unknown users share a salt"
        assert known[0] == unknown[0] and known[2] == unknown[2]
        assert len(base64.b64decode(known[1])) == len(base64.b64decode(unknown[1]))


@cases(empty=b"", no_mechanism=b"SCRAM-SHA-256", unknown=b"SCRAM-SHA-9\0\0\0\0\0",
       negative=b"SCRAM-SHA-256\0\xff\xff\xff\xfe", too_long=b"SCRAM-SHA-256\0\0\0\0\x63n,,",
       no_header=b"SCRAM-SHA-256\0\0\0\0\3abc", binding=b"SCRAM-SHA-256\0\0\0\0\x14p=tls-unique,,n=,r=a",
       no_nonce=b"SCRAM-SHA-256\0\0\0\0\5n,,n=", authzid=b"SCRAM-SHA-256\0\0\0\0\x0fn,a=bob,n=,r=abc",
       extension=b"SCRAM-SHA-256\0\0\0\0\x0fn,,m=x,n=,r=abc")
def test_scram_broken_first_message(body):
    with pooled(auth_type="scram-sha-256", users={"alice": SECRET}) as (_, daemon):
        with daemon.connect() as client:
            client.send(wire.startup({"user": "alice", "database": "db"}))
            client.expect("R")
            client.send(wire.password(body))
            got = client.rest(5)
            assert [item.type for item in got] == ["E"], got
            assert got[0].fields["C"] in ("08P01", "28P01", "0A000"), got
        with daemon.client(secret=SECRET) as client:
            assert client.value("select 1") == "select 1"


def test_scram_without_initial_response():
    """Length -1: the server answers with an empty challenge, and then the message comes."""
    with pooled(auth_type="scram-sha-256", users={"alice": SECRET}) as (_, daemon):
        with daemon.connect() as client:
            client.send(wire.startup({"user": "alice", "database": "db"}))
            client.expect("R")
            client.send(wire.password(b"SCRAM-SHA-256\0\xff\xff\xff\xff"))
            assert wire.sasl_message(client, 11) == b""
            client.send(wire.password(b"n,,n=,r=abcdefghijkl"))
            assert wire.sasl_message(client, 11).startswith(b"r=abcdefghijkl")


@cases(empty=b"", text=b"nonsense", no_proof=b"c=biws,r=abcdefghijkl",
       other_nonce=b"c=biws,r=zzz,p=" + base64.b64encode(bytes(32)),
       short_proof=b"c=biws,r=NONCE,p=AAAA", bad_base64=b"c=biws,r=NONCE,p=" + b"!" * 44,
       bad_header=b"c=eSws,r=NONCE,p=" + base64.b64encode(bytes(32)))
def test_scram_broken_final_message(body):
    with pooled(auth_type="scram-sha-256", users={"alice": SECRET}) as (_, daemon):
        with daemon.connect() as client:
            client.send(wire.startup({"user": "alice", "database": "db"}))
            client.expect("R")
            first = b"n,,n=,r=abcdefghijkl"
            client.send(wire.password(wire.string("SCRAM-SHA-256")
                                      + struct.pack("!I", len(first)) + first))
            nonce = wire.attributes(wire.sasl_message(client, 11))["r"]
            client.send(wire.password(body.replace(b"NONCE", nonce)))
            got = client.rest(5)
            assert [item.type for item in got] == ["E"], got
            assert got[0].fields["C"] in ("08P01", "28P01"), got


def test_other_message_instead_of_password():
    with pooled(auth_type="plain", users={"alice": SECRET}) as (server, daemon):
        with daemon.connect() as client:
            client.send(wire.startup({"user": "alice", "database": "db"}) + wire.query("select 1"))
            client.expect("R")
            got = client.rest(5)
            assert [item.type for item in got] == ["E"], got
        assert "select 1" not in server.queries


@cases(plain=scripted.plain("geheim"), md5=scripted.md5("geheim"), scram=scripted.scram("geheim"),
       scram_one_iteration=scripted.scram("geheim", iterations=1),
       scram_many_iterations=scripted.scram("geheim", iterations=50000))
def test_server_login(login):
    with pooled(Scripted(login=login), dsn="password=geheim") as (_, daemon):
        with daemon.client() as client:
            assert client.value("select 1") == "select 1"


@cases(plain=scripted.plain("other"), md5=scripted.md5("other"), scram=scripted.scram("other"))
def test_server_refuses_our_password(login):
    with pooled(Scripted(login=login), dsn="password=geheim", pool_timeout="5") as (_, daemon):
        began = time.monotonic()
        refusal = daemon.refused()
        assert time.monotonic() - began < 6
        assert refusal["C"] in ("28P01", "08006"), refusal
        assert "password authentication failed" in " ".join(refusal.values()), refusal


def test_no_password_for_the_server():
    with pooled(Scripted(login=scripted.plain("x")), pool_timeout="5") as (_, daemon):
        refusal = daemon.refused()
        assert refusal["C"] in ("28P01", "08006"), refusal


def test_scram_keys_of_the_client_open_the_server():
    """No password is stored anywhere: the client's own proof is enough for the server."""
    salt, rounds = b"a salt they share", 4096
    secrets = {"alice": wire.scram_secret(SECRET, salt, rounds)}
    server = Scripted(login=scripted.scram(SECRET, salt=salt, iterations=rounds))
    with pooled(server, auth_type="scram-sha-256", users=secrets) as (_, daemon):
        with daemon.client(secret=SECRET) as client:
            assert client.value("select 1") == "select 1"


def test_plain_password_of_the_client_opens_the_server():
    server = Scripted(login=scripted.scram(SECRET))
    with pooled(server, auth_type="plain", users={"alice": encoded("md5")}) as (_, daemon):
        with daemon.client(secret=SECRET) as client:
            assert client.value("select 1") == "select 1"


def test_each_user_has_own_server_connections():
    with pooled(users={"alice": "a", "bob": "b"}, auth_type="md5") as (server, daemon):
        with daemon.client("alice", secret="a") as alice, daemon.client("bob", secret="b") as bob:
            assert alice.value("select pid") != bob.value("select pid")
        assert {item.startup["user"] for item in server.backends} == {"alice", "bob"}


def skips_final(backend):
    """Lets the client in without proving that it knows the secret itself."""
    backend.send(wire.authentication(10, b"SCRAM-SHA-256\0\0"))
    first = backend.expect("p").body
    nonce = wire.attributes(first.partition(b"n,,")[2])["r"] + b"more"
    backend.send(wire.authentication(11, b"r=" + nonce + b",s=c2FsdA==,i=4096"))
    backend.expect("p")
    backend.login_done()


def wrong_signature(backend):
    backend.send(wire.authentication(10, b"SCRAM-SHA-256\0\0"))
    first = backend.expect("p").body
    nonce = wire.attributes(first.partition(b"n,,")[2])["r"] + b"more"
    backend.send(wire.authentication(11, b"r=" + nonce + b",s=c2FsdA==,i=4096"))
    backend.expect("p")
    backend.send(wire.authentication(12, b"v=" + base64.b64encode(bytes(32))))
    backend.login_done()


def first_challenge(text):
    def login(backend):
        backend.send(wire.authentication(10, b"SCRAM-SHA-256\0\0"))
        first = backend.expect("p").body
        nonce = wire.attributes(first.partition(b"n,,")[2])["r"]
        backend.send(wire.authentication(11, text.replace(b"NONCE", nonce)))
        backend.rest(5)
        raise wire.Closed("as it should")
    return login


@cases(skips_final=skips_final, wrong_signature=wrong_signature,
       foreign_nonce=first_challenge(b"r=evil,s=c2FsdA==,i=4096"),
       same_nonce=first_challenge(b"r=NONCE,s=c2FsdA==,i=4096"),
       no_rounds=first_challenge(b"r=NONCEx,s=c2FsdA==,i=0"),
       endless_rounds=first_challenge(b"r=NONCEx,s=c2FsdA==,i=2000000000"),
       no_salt=first_challenge(b"r=NONCEx,s=,i=4096"),
       bad_salt=first_challenge(b"r=NONCEx,s=!!!!,i=4096"),
       empty=first_challenge(b""))
def test_server_that_cheats_at_scram(login):
    server = Scripted(login=login)
    with pooled(server, dsn="password=geheim", pool_timeout="2") as (_, daemon):
        refusal = daemon.refused()
        assert refusal["S"] == "FATAL" and refusal["C"][:2] in ("08", "28"), refusal


def asks(code, extra=b""):
    def login(backend):
        backend.send(wire.authentication(code, extra))
        backend.rest(5)
        raise wire.Closed("as it should")
    return login


@cases(kerberos=asks(2), gss=asks(7), sspi=asks(9), unknown=asks(99), md5_short=asks(5, b"\1\2"),
       sasl_unknown=asks(10, b"SCRAM-SHA-1\0\0"), sasl_empty=asks(10), sasl_out_of_turn=asks(11, b"x"))
def test_server_asks_for_what_we_do_not_speak(login):
    with pooled(Scripted(login=login), dsn="password=geheim", pool_timeout="2") as (_, daemon):
        refusal = daemon.refused()
        assert refusal["S"] == "FATAL" and refusal["C"][:2] in ("08", "28"), refusal
