"""The compatibility cases that no script can be of, with the reason and the test that is of them."""

NOT_SCRIPTS = {
    5: ("is about an engine's AUTOCOMMIT mode", "integration/drivers/test_psycopg2.py"),
    20: ("is about pgbench -M prepared", "integration/drivers/test_tools.py"),
    23: ("is about session mode", "integration/semantics/test_prepared.py"),
    24: ("is about modes of single users", "integration/semantics/test_prepared.py"),
    34: ("is a refusal, which PostgreSQL has not", "integration/semantics/test_ordering.py"),
    35: ("is about the limit of kept statements", "integration/semantics/test_prepared.py"),
    67: ("is a refusal, which PostgreSQL has not", "integration/semantics/test_ordering.py"),
    69: ("is about counters of the pool", "unit/pool/test_model.c"),
    72: ("is about a server that fails", "integration/semantics/test_life_cycle.py"),
    73: ("is about TLS", "scenario/test_tls.py"),
    74: ("is about versions of the protocol", "scenario/test_startup.py"),
    75: ("is about lengths of cancel keys", "scenario/test_cancel.py"),
    76: ("is about time limits of idle connections", "unit/pool/test_rules.c"),
    77: ("is about limits of idle connections", "unit/pool/test_model.c"),
    85: ("is about clients that wait for a server connection", "integration/semantics/test_cancel.py"),
    86: ("is about keepalive and clients that wait", "unit/net/test_listen.c"),
    87: ("is about pools that nobody uses", "unit/route/test_destination.c"),
    88: ("is about the age of server connections", "unit/pool/test_rules.c"),
    89: ("is about the limit of waiting", "unit/pool/test_model.c"),
}
ALL = range(1, 90)
