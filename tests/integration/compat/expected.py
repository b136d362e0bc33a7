"""What differs from PostgreSQL, strictly: what is listed and does not differ is a failure. Scripts by
`theme/title`, when they differ in one of their modes at least, or by `theme/title (mode)`."""

SEEDS = "PostgreSQL cannot be asked whether a function has called setseed"
BESIDE = "what others do to a function beside the pooler is noticed at the next sample"

# Not built, or wrong. Each of these goes when it is.
EXPECTED_TODAY = {
    "roles/a role that is dropped meanwhile": "not even RESET ROLE gets the client out of the error",
}

# May differ, by chance: not strict.
SOMETIMES_TODAY = {}

# As docs/applications.md says.
KNOWN_DIFFERENCES = {
    "prepared/the view of prepared statements": "statements of the protocol have the pooler's names",
    "settings/a setting of one's own that is null where none has it": "once known to a server connection, it is empty",
    "portals/with hold by the extended protocol": "a FETCH that is prepared is told that its result has changed when its cursor has gone",
    "sequences/currval in a later transaction": "state_sequence = auto: the first client of a pool that asks gets 55000",
    "sequences/currval without nextval": "state_sequence = auto: the first client of a pool that asks gets 55000",
    "functions/a function that takes from a sequence": "state_sequence = auto: the first client of a pool that asks gets 55000",
    "temporary/temporary functions and types": "the schema pg_temp exists on a connection that had temporary objects before",
    "functions/a function that seeds": SEEDS,
    "functions/a function that is replaced": BESIDE,
}

# Kinds of steps.py whose sequences differ.
SESSIONS_TODAY = {
    "functions of sequences and seeds": SEEDS,
}
