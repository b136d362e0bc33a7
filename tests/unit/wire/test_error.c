/* Bodies marked "captured" are what PostgreSQL 15 sent. */
#include <criterion/criterion.h>

#include "support.h"

static const struct body {
    const char *bytes;
    size_t length;
    bool valid;
    struct weir_error_fields fields;
} bodies[] = {
#define BODY(literal) .bytes = (literal), .length = LENGTH_OF(literal)
    {BODY("SERROR\0VERROR\0C22012\0Mdivision by zero\0Fint.c\0L869\0Rint4div\0\0"), /* captured */
     true,
     {"ERROR", "ERROR", "22012", "division by zero", NULL, NULL}},
    {BODY("SERROR\0VERROR\0CP0042\0Ma\0Db\0Hc\0WPL/pgSQL function inline_code_block line 1 at "
          "RAISE\0"
          "Fpl_exec.c\0L3907\0Rexec_stmt_raise\0\0"), /* captured */
     true,
     {"ERROR", "ERROR", "P0042", "a", "b", "c"}},
    {BODY("SNOTICE\0VNOTICE\0C00000\0Mtable \"nothing_here\" does not exist, skipping\0"
          "Ftablecmds.c\0L1337\0RDropErrorMsgNonExistent\0\0"), /* captured */
     true,
     {"NOTICE", "NOTICE", "00000", "table \"nothing_here\" does not exist, skipping", NULL, NULL}},
    {BODY("SFATAL\0C57P01\0Mbye\0\0"), true, {"FATAL", NULL, "57P01", "bye", NULL, NULL}},
    {BODY("SERROR\0Mno state\0\0"), true, {"ERROR", NULL, NULL, "no state", NULL, NULL}},
    {BODY("\0"), true, {NULL, NULL, NULL, NULL, NULL, NULL}},
    {BODY("S\0C\0M\0\0"), true, {"", NULL, "", "", NULL, NULL}},
    {BODY("Mone\0Mtwo\0Mthree\0\0"), true, {NULL, NULL, NULL, "three", NULL, NULL}},
    {BODY("\x80unknown\0zfield\0Mkept\0\0"), true, {NULL, NULL, NULL, "kept", NULL, NULL}},
    {BODY(""), false, {NULL, NULL, NULL, NULL, NULL, NULL}},
    {BODY("Mno terminator\0"), false, {NULL, NULL, NULL, "no terminator", NULL, NULL}},
    {BODY("Mkept\0Hno end"), false, {NULL, NULL, NULL, "kept", NULL, NULL}},
    {BODY("Mkept\0\0behind"), false, {NULL, NULL, NULL, "kept", NULL, NULL}},
    {BODY("C"), false, {NULL, NULL, NULL, NULL, NULL, NULL}},
};

static void expect_text(const char *name, size_t row, const char *text, const char *expected)
{
    if (expected == NULL) {
        cr_expect_null(text, "row %zu: %s", row, name);
        return;
    }
    cr_assert_not_null(text, "row %zu: %s", row, name);
    cr_expect_str_eq(text, expected, "row %zu: %s", row, name);
}

static void expect_fields(size_t row, const struct weir_error_fields *fields,
                          const struct weir_error_fields *expected)
{
    expect_text("severity", row, fields->severity, expected->severity);
    expect_text("severity_raw", row, fields->severity_raw, expected->severity_raw);
    expect_text("sqlstate", row, fields->sqlstate, expected->sqlstate);
    expect_text("message", row, fields->message, expected->message);
    expect_text("detail", row, fields->detail, expected->detail);
    expect_text("hint", row, fields->hint, expected->hint);
}

Test(error, parses_the_table)
{
    for (size_t row = 0; row < COUNT_OF(bodies); row++) {
        uint8_t *copy = copy_exactly(bodies[row].bytes, bodies[row].length);
        struct weir_error_fields fields;
        memset(&fields, 0xff, sizeof fields);
        cr_expect_eq(weir_error_parse(copy, bodies[row].length, &fields), bodies[row].valid,
                     "row %zu", row);
        expect_fields(row, &fields, &bodies[row].fields);
        free(copy);
    }
}

Test(error, parses_no_body_at_all)
{
    struct weir_error_fields fields;
    memset(&fields, 0xff, sizeof fields);
    cr_expect_not(weir_error_parse(NULL, 0, &fields));
    expect_fields(0, &fields, &(struct weir_error_fields){0});
}

static size_t count_fields(const struct weir_error_fields *fields)
{
    return (size_t)(fields->severity != NULL) + (fields->severity_raw != NULL) +
           (fields->sqlstate != NULL) + (fields->message != NULL) + (fields->detail != NULL) +
           (fields->hint != NULL);
}

Test(error, is_malformed_at_every_cut_but_keeps_whole_fields)
{
    static const char body[] = "SERROR\0VERROR\0C22012\0Mtext\0Dmore\0Hhelp\0\0";
    for (size_t cut = 0; cut < LENGTH_OF(body); cut++) {
        uint8_t *copy = copy_exactly(body, cut);
        struct weir_error_fields fields;
        cr_expect_not(weir_error_parse(copy, cut, &fields), "cut at %zu", cut);
        size_t whole = 0;
        for (size_t i = 0; i < cut; i++) {
            whole += body[i] == '\0';
        }
        cr_expect_eq(count_fields(&fields), whole, "cut at %zu", cut);
        free(copy);
    }
}

Test(error, is_written_in_the_documented_order)
{
    struct weir_buffer buffer = {0};
    struct weir_writer writer = weir_writer_to(&buffer);
    weir_write_error(&writer, "FATAL", "53300", "m", "d", "h");
    static const char expected[] = "E\0\0\0\x23SFATAL\0VFATAL\0C53300\0Mm\0Dd\0Hh\0\0";
    cr_assert_eq(weir_buffer_length(&buffer), LENGTH_OF(expected));
    cr_expect_arr_eq(weir_buffer_bytes(&buffer), expected, LENGTH_OF(expected));
    weir_buffer_clear(&buffer);
}

Test(error, comes_back_as_written)
{
    static const struct weir_error_fields rows[] = {
        {"ERROR", "ERROR", "57014", "cancelled", NULL, NULL},
        {"FATAL", "FATAL", "53300", "too many", "pool is full", "wait"},
        {"ERROR", "ERROR", "08006", "", NULL, "hint alone"},
    };
    for (size_t row = 0; row < COUNT_OF(rows); row++) {
        struct weir_buffer buffer = {0};
        struct weir_writer writer = weir_writer_to(&buffer);
        weir_write_error(&writer, rows[row].severity, rows[row].sqlstate, rows[row].message,
                         rows[row].detail, rows[row].hint);
        const uint8_t *message = weir_buffer_bytes(&buffer);
        const size_t length = weir_buffer_length(&buffer);
        cr_assert_eq(message[0], 'E');
        cr_assert_eq(weir_get_u32(message + 1), length - 1);
        struct weir_error_fields fields;
        cr_expect(weir_error_parse(message + WEIR_WIRE_HEADER, length - WEIR_WIRE_HEADER, &fields));
        expect_fields(row, &fields, &rows[row]);
        weir_buffer_clear(&buffer);
    }
}
