/* Fingerprints of texts, texts that reset a session, and mentions of state besides settings. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "sql_text.h"

TestSuite(sql_words, .timeout = 60);

static uint64_t print(const char *text)
{
    return sql_fingerprint((const uint8_t *)text, strlen(text));
}

static const struct {
    const char *one, *other;
    bool same;
} prints[] = {
    {"select 1", "select 2", true},
    {"select 1", "select  1 ", true},
    {"select f(1)", "select f('it''s')", true},
    {"select f(1)", "select g(1)", false},
    {"select * from t where a in (1, 2, 3)", "select * from t where a in (7)", true},
    {"select * from t where a in (1, b, 3)", "select * from t where a in (7)", false},
    {"insert into t values ('a', 1.5e3)", "insert into t values ('b')", true},
    {"select a1 from t2", "select a3 from t2", false},
    {"select $1", "select $2", false},
    {"select f(x)", "select f (x)", false},
    {"", " ", true},
    {"select 'unfinished", "select 'other", true},
    {"select 1, a", "select 1, b", false},
};

Test(sql_words, literals_and_white_space_do_not_tell_texts_apart)
{
    for (size_t i = 0; i < sizeof(prints) / sizeof(prints[0]); i++) {
        cr_expect_eq(print(prints[i].one) == print(prints[i].other), prints[i].same, "%s | %s",
                     prints[i].one, prints[i].other);
        cr_expect_neq(print(prints[i].one), 0);
        cr_expect_eq(print(prints[i].one) & 1, 0, "the lowest bit is somebody else's");
    }
}

static const struct {
    const char *text;
    unsigned resets;
} resets[] = {
    {"RESET ALL", SQL_RESETS_SETTINGS},
    {" reset all ; ", SQL_RESETS_SETTINGS},
    {"SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;",
     SQL_RESETS_LOCKS | SQL_RESETS_CURSORS | SQL_RESETS_LISTEN | SQL_RESETS_SETTINGS},
    {"SELECT pg_advisory_unlock_all();\nCLOSE ALL;\n\n            DO $$\n            BEGIN\n"
     "                PERFORM * FROM pg_listening_channels() LIMIT 1;\n                IF FOUND "
     "THEN\n"
     "                    UNLISTEN *;\n                END IF;\n            END;\n            $$;\n"
     "RESET ALL;",
     SQL_RESETS_LOCKS | SQL_RESETS_CURSORS | SQL_RESETS_LISTEN | SQL_RESETS_SETTINGS},
    {"DISCARD ALL", SQL_RESETS_ALL},
    {"ROLLBACK", SQL_RESETS_NOTHING},
    {"ABORT; RESET ALL", SQL_RESETS_NOTHING | SQL_RESETS_SETTINGS},
    {"/* x */ reset all -- y", SQL_RESETS_SETTINGS},
    {"", 0},
    {";;", 0},
    {"RESET ALL; SELECT 1", 0},
    {"RESET work_mem", 0},
    {"RESET ALL RESET ALL", 0},
    {"reset allx", 0},
    {"select pg_advisory_unlock_all(), f()", 0},
    {"select pg_advisory_unlock_all() from t", 0},
    {"close all; set a.b = 1", 0},
    {"rollback to savepoint a", 0},
    {"do $$ begin perform f(); end $$", 0},
};

Test(sql_words, texts_that_do_nothing_but_reset_are_known)
{
    for (size_t i = 0; i < sizeof(resets) / sizeof(resets[0]); i++) {
        size_t length = strlen(resets[i].text);
        cr_expect_eq(sql_resets((const uint8_t *)resets[i].text, length), resets[i].resets,
                     "%s: %u", resets[i].text, sql_resets((const uint8_t *)resets[i].text, length));
    }
}

Test(sql_words, no_text_is_read_beyond_its_end)
{
    for (size_t i = 0; i < sizeof(resets) / sizeof(resets[0]); i++) {
        for (size_t length = 0; length <= strlen(resets[i].text); length++) {
            uint8_t *copy = malloc(length + 1); /* the sanitizer watches the end */
            memcpy(copy, resets[i].text, length);
            uint8_t *exact = realloc(copy, length > 0 ? length : 1);
            sql_resets(exact, length);
            sql_fingerprint(exact, length);
            sql_mentions(exact, length);
            free(exact);
        }
    }
}

static const struct {
    const char *text;
    unsigned mentions;
} mentions[] = {
    {"select currval('s')", SQL_CURRENT},
    {"SELECT LASTVAL()", SQL_CURRENT},
    {"select current_user, lasting, next, cur", 0},
    {"select nextval('s')", SQL_SEQUENCE},
    {"select setval('s', 1)", SQL_SEQUENCE},
    {"select setseed(0.5)", SQL_SEED},
    {"set seed = 0.5", SQL_SEED | SQL_SETS},
    {"set session seed to 0.5", SQL_SEED | SQL_SETS},
    {"set local seed to 0.5", 0},
    {"set seedling.x = 1", SQL_SETS | SQL_CUSTOM},
    {"select nextval('s'), currval('s')", SQL_SEQUENCE | SQL_CURRENT},
};

Test(sql_words, state_that_nobody_can_ask_for_is_seen_in_the_text)
{
    for (size_t i = 0; i < sizeof(mentions) / sizeof(mentions[0]); i++) {
        size_t length = strlen(mentions[i].text);
        cr_expect_eq(sql_mentions((const uint8_t *)mentions[i].text, length), mentions[i].mentions,
                     "%s: %u", mentions[i].text,
                     sql_mentions((const uint8_t *)mentions[i].text, length));
    }
}
