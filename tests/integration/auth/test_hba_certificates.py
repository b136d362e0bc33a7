"""Rules that look at the client's certificate, in pgweir and in PostgreSQL. See side_by_side.py for who is held
to what."""
import contextlib
import os
import re

import psycopg
from side_by_side import SECRET, TRUST, Pair, lines_of, refused_lines, write_rules
from support import Skip, pool

from harness import pgweir, postgres
from harness.certificates import Authority

SETS = {
    "cert": """
        hostssl all        all        127.0.0.1/32      cert
        """,
    "cert_by_a_map": """
        hostssl all        all        all               cert map=people
        hostnossl all      scram      all               trust
        """,
    "cert_by_subject": """
        hostssl all        all        all               cert clientname=DN map=subjects
        """,
    "cert_by_subject_without_a_map": """
        hostssl all        all        all               cert clientname=DN
        hostnossl all      reader     all               trust
        """,
    "verify_ca": """
        hostssl all        scram      all               scram-sha-256 clientcert=verify-ca
        hostssl all        hashed     all               md5 clientcert=verify-ca
        hostssl all        all        all               trust
        """,
    "verify_full": """
        hostssl one        all        all               trust clientcert=verify-full
        hostssl two        all        all               md5 clientcert=verify-full
        hostssl reader     all        all               password clientcert=verify-full clientname=DN
        """,
    "reject": """
        hostssl one        all        all               reject clientcert=verify-ca
        hostssl two        all        all               reject clientcert=verify-full
        hostssl all        all        all               trust clientname=DN
        """,
    "some_need_none": """
        hostssl two        all        all               cert
        host    all        all        all               scram-sha-256
        """,
}
IDENT = r"""
    people   scram                         reader
    people   /^(.*)@example\.com$          \1
    subjects "CN=reader,OU=staff,O=Shop"   reader
    subjects "/^CN=(.*),OU=admins"         \1
    """
IDENTITIES = {
    "scram": "/CN=scram",
    "mail": "/CN=reader@example.com",
    "staff": "/O=Shop/OU=staff/CN=reader",
    "admin": "/O=Shop/OU=admins/CN=scram",
    "two_names": "/CN=scram/CN=reader",
    "nameless": "/O=Shop",
    "long": f"/CN=scram/O={'x' * 60}/OU={'y' * 60}/L={'z' * 60}",
    "hashed": "/CN=hashed",
}

LOGINS = [(user, database, SECRET) for user in ("scram", "reader") for database in ("one", "two", "reader")] + \
    [("hashed", "two", SECRET), ("hashed", "two", "wrong"), ("scram", "two", "wrong")]

GOOD_LINES = """
hostssl all all all cert
hostssl all all all cert map=m
hostssl all all all cert clientcert=verify-full
hostssl all all all cert clientname=CN
hostssl all all all cert clientname=DN map=m
hostssl all all all cert clientname=DN,map=m
hostssl all all all md5 clientcert=verify-ca
hostssl all all all scram-sha-256 clientcert=verify-full
hostssl all all all trust clientcert=verify-full clientname=DN
hostssl all all all trust clientname=DN
hostssl all all all reject clientcert=verify-ca
hostssl all all all reject clientcert=verify-ca clientcert=verify-full
"""
BAD_LINES = """
local all all cert
host all all all cert
hostnossl all all all cert
hostgssenc all all all cert
hostssl all all all CERT
hostssl all all all cert clientcert=verify-ca
hostssl all all all cert clientcert=no-verify
hostssl all all all cert clientname=cn
hostssl all all all cert clientname=
hostssl all all all md5 clientcert=1
hostssl all all all md5 clientcert=
hostssl all all all md5 clientcert
hostssl all all all md5 clientcert=VERIFY-CA
hostssl all all all md5 map=m
hostssl all all all trust map=m
host all all all md5 clientcert=verify-ca
hostnossl all all all md5 clientcert=verify-ca
local all all md5 clientcert=verify-ca
host all all all trust clientname=CN
local all all peer clientname=CN
"""


def tls_settings(authority):
    certificate, key = authority.issue("localhost", "server")
    return {"ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": key, "ssl_ca_file": authority.certificate}


def contexts(authority):
    """Of clients with each certificate, without one, and without TLS (None)."""
    made = {name: authority.context(authority.issue(None, name, subject=subject)) for name, subject in IDENTITIES.items()}
    made["zero"] = authority.context(authority.issue_with_zero_byte("scram\0.example", "zero"))
    made["none"] = authority.context()
    stranger = Authority("stranger").issue("scram", "stranger")
    made["stranger"] = authority.context(stranger)
    return {**made, "plain": None}


@pool(seconds=240)
def test_same_logins_get_in(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    authority = Authority()
    with contextlib.ExitStack() as stack:
        pair = Pair(stack, {"ident": IDENT}, tls_settings(authority),
                    **authority.settings("prefer", client_tls_ca_file=authority.certificate))
        seen = set()
        clients = contexts(authority)
        for name, rules in SETS.items():
            pair.reload(rules)
            for identity, context in clients.items():
                for user, database, secret in LOGINS:
                    got = pair.outcomes("127.0.0.1", user, database, secret, context=context)
                    seen.add((name, identity, got if isinstance(got, str) else got[1].replace(user, "USER")))
        for name in SETS:
            assert {told for rules, _, told in seen if rules == name} > {"in"}, (name, seen)
        # Such certificates do not get through the handshake, whatever the rules.
        for identity in ("stranger", "zero"):
            assert {told for _, shown, told in seen if shown == identity} == {"closed"}, seen
        told = {text for _, _, text in seen}
        for text in ("connection requires a valid client certificate", 'certificate authentication failed for user "USER"',
                     '"trust" authentication failed for user "USER"', 'password authentication failed for user "USER"'):
            assert text in told, told
        log = pair.daemon.read_log()
        for identity, rules in (("scram", "cert"), ("scram", "cert_by_a_map"), ("staff", "cert_by_subject"),
                                ("admin", "cert_by_subject"), ("none", "some_need_none"), ("plain", "some_need_none")):
            assert (rules, identity, "in") in seen, (rules, identity)
        assert re.search(r"login succeeded rule=\S+/hba:\d+ method=cert ", log)
        for text in ("the common name of the client's certificate contains a zero byte",
                     'reason=certificate_name closing because: .*: the certificate is that of "scram"',
                     "reason=certificate_mismatch closing because: the password is right",
                     "reason=certificate_missing ", "the certificate has no name of that kind"):
            assert re.search(text, log), text
        pair.daemon.stop()


def libpq_says(port, authority, user, database, identity):
    """What libpq says of a login, without the port."""
    shown = {"sslcert": authority.path(identity + ".crt"), "sslkey": authority.path(identity + ".key")} if identity \
        else {"sslcert": "/nonexistent"}
    try:
        with psycopg.connect(host="127.0.0.1", port=port, user=user, dbname=database, password=SECRET,
                             sslmode="require", connect_timeout=20, **shown) as connection:
            return connection.execute("select current_user").fetchone()[0]
    except psycopg.OperationalError as refused:
        return str(refused).replace(str(port), "PORT")


@pool(seconds=120)
def test_libpq_gets_in(env):
    """With libpq's own TLS and texts."""
    if env.against != "pgweir":
        raise Skip("it starts its own")
    authority = Authority()
    with contextlib.ExitStack() as stack:
        pair = Pair(stack, {"ident": IDENT}, tls_settings(authority),
                    **authority.settings("require", client_tls_ca_file=authority.certificate))
        for identity, subject in IDENTITIES.items():
            os.chown(authority.issue(None, identity, subject=subject)[1], os.geteuid(), os.getegid())
        got_in = 0
        for name in ("cert_by_subject", "verify_full", "some_need_none"):
            pair.reload(SETS[name])
            for identity in (None, "scram", "staff", "nameless"):
                for user, database in (("scram", "one"), ("reader", "two"), ("scram", "reader")):
                    direct = libpq_says(pair.reference.port, authority, user, database, identity)
                    pooled = libpq_says(pair.daemon.port, authority, user, database, identity)
                    assert direct == pooled, (name, identity, user, database, direct, pooled)
                    got_in += direct == user
        assert got_in > 5, got_in
        pair.daemon.stop()


@pool(seconds=120)
def test_same_lines_are_read(env):
    if env.against != "pgweir":
        raise Skip("it starts its own")
    authority = Authority()
    settings = tls_settings(authority)
    with postgres.Postgres(settings, hba=TRUST) as reference:
        daemon = pgweir.Pgweir({"db": "host=127.0.0.1"}, start=False, auth_type="hba",
                               **authority.settings("prefer", client_tls_ca_file=authority.certificate))
        daemon.settings["auth_hba_file"] = os.path.join(daemon.folder, "hba")
        daemon.write()
        lines = lines_of(GOOD_LINES) + lines_of(BAD_LINES)
        judged = []
        for at in range(0, len(lines), 15):  # pgweir does not name more than 20 at once
            some = lines[at:at + 15]
            text = "".join(line + "\n" for line in some)
            write_rules(daemon, text)
            reference.hba(text, reload=False)
            # Of a bad value of an option the view has no error, and no rule either.
            theirs = {int(line): error for line, error in reference.sql(
                "select line_number, error from pg_hba_file_rules where error is not null or type is null")}
            ours = refused_lines(daemon)
            assert set(ours) == set(theirs), (text, ours, theirs)
            judged += [line for number, line in enumerate(some, 2) if number in ours]
        assert judged == lines_of(BAD_LINES), set(judged) ^ set(lines_of(BAD_LINES))
        reference.hba(TRUST, reload=False)
