"""What differs from PostgreSQL, strictly: what is listed and does not differ is a failure. Scripts by
`theme/title`, when they differ in one of their modes at least, or by `theme/title (mode)`."""

UNSEEN = "state that is made inside functions, triggers or DO blocks is not seen"
SEQUENCES = "what sequences have given to a session stays on its server connection"
SEEDS = "a seed stays on its server connection"

# Not built, or wrong. Each of these goes when it is.
EXPECTED_TODAY = {
    **dict.fromkeys(("functions/" + title for title in (
        "a function that sets", "a function that executes SET", "a function that sets a setting of one's own",
        "a function that makes a temporary table", "a function that locks", "a function that listens",
        "a function that opens a held cursor", "a function that prepares", "a function that switches the role",
        "a do block that sets", "a do block that makes a temporary table", "a do block that locks, and one that unlocks",
        "a do block that hides its words", "a procedure that sets and commits", "a trigger that sets",
        "a trigger that makes a temporary table", "a view and a default that set", "a rule and a policy that set",
        "a function that sets in a transaction", "a function by a prepared statement", "a function that is replaced",
        "a function that sets what it is told to, later")), UNSEEN),
    "functions/a function that seeds": SEEDS,
    "functions/a function that takes from a sequence": SEQUENCES,
    **dict.fromkeys(("sequences/" + title for title in (
        "currval in a later transaction", "lastval after an insert", "currval without nextval", "lastval of two sequences",
        "discard sequences", "values that a session keeps ahead", "currval in a default or a trigger", "setval and currval",
        "lastval in a prepared statement", "identity columns")), SEQUENCES),
    **dict.fromkeys(("sequences/" + title for title in ("setseed", "seed by set", "setseed by a parameter")), SEEDS),
    "logins/a module that is loaded": "LOAD does not keep its client",
    "settings/a client that sets by turns is told once": "after a question with nothing to set, what is brought back later is told",
    "settings/update of pg_settings": "no text says that a setting is changed",
    "temporary/temporary functions and types": "only relations in the temporary schema keep their client",
    "roles/both": "SET ROLE is brought back before SET SESSION AUTHORIZATION, which undoes it",
    "roles/a role that is dropped meanwhile": "not even RESET ROLE gets the client out of the error",
    "locks/the holder leaves in a failed transaction": "a lock of the session outlives it",
    "notify/notifications right behind a listen": "what arrives while the pooler asks its own question is dropped",
    "transactions/gone with an open batch": "the batch without Sync of a client that has left is committed",
}

# May differ, by chance: not strict.
SOMETIMES_TODAY = dict.fromkeys(("notify/a notification of another client", "notify/two who listen"),
                                "see notify/notifications right behind a listen")

# As docs/applications.md says.
KNOWN_DIFFERENCES = {
    "prepared/the view of prepared statements": "statements of the protocol have the pooler's names",
    "settings/a setting of one's own that is null where none has it": "once known to a server connection, it is empty",
    "portals/with hold by the extended protocol": "a FETCH that is prepared is told that its result has changed when its cursor has gone",
}

# Kinds of steps.py whose sequences differ.
SESSIONS_TODAY = {
    "roles": "see roles/both",
    "sequences": SEQUENCES,
    "seeds": SEEDS,
    "modules": "LOAD does not keep its client",
    "functions": UNSEEN,
    "functions of sequences and seeds": UNSEEN,
}
