/* Packets marked "captured" are what libpq 15 sent. */
#include <criterion/criterion.h>

#include "support.h"

static const struct packet {
    const char *bytes;
    size_t length;
    enum weir_startup_kind kind;
    const char *problem;
} packets[] = {
#define PACKET(literal) .bytes = (literal), .length = LENGTH_OF(literal)
#define LENGTHS         "invalid length of startup packet"
#define LAYOUT          "invalid startup packet layout: "
#define SUPPORT         ": pgweir supports 3.0 to 3.2"
    {PACKET("\0\0\0\x08\x04\xd2\x16/"), WEIR_STARTUP_SSL, NULL}, /* captured */
    {PACKET("\0\0\0\x08\x04\xd2\x16\x30"), WEIR_STARTUP_GSS, NULL},
    {PACKET("\0\0\0\x10\x04\xd2\x16\x2e\0\0\x30\x39key!"), WEIR_STARTUP_CANCEL, NULL},
    {PACKET("\0\0\0\x0d\x04\xd2\x16\x2e\0\0\x30\x39k"), WEIR_STARTUP_CANCEL, NULL},
    {PACKET("\0\0\x00\x38\0\3\0\0user\0alice\0database\0shop\0application_name\0psql\0\0"),
     WEIR_STARTUP_LOGIN, NULL}, /* captured */
    {PACKET("\0\0\0\x12\0\3\0\2user\0alic\0"), WEIR_STARTUP_BAD, LAYOUT "parameter without value"},
    {PACKET("\0\0\0\x14\0\3\0\2user\0alice\0\0"), WEIR_STARTUP_LOGIN, NULL},
    {PACKET("\0\0\0\x14\0\3\xff\xffuser\0alice\0\0"), WEIR_STARTUP_LOGIN, NULL},
    {PACKET("\0\0\0\x09\0\3\0\0\0"), WEIR_STARTUP_LOGIN, NULL},
    {PACKET("\0\0\0\x0f\0\3\0\0user\0\0\0"), WEIR_STARTUP_LOGIN, NULL},
    /* lengths */
    {PACKET("\0\0\0\0"), WEIR_STARTUP_BAD, LENGTHS},
    {PACKET("\0\0\0\7"), WEIR_STARTUP_BAD, LENGTHS},
    {PACKET("\0\x0f\x42\x41"), WEIR_STARTUP_BAD, LENGTHS},
    {PACKET("\xff\xff\xff\xff"), WEIR_STARTUP_BAD, LENGTHS},
    {PACKET("GET / HTTP/1.1\r\n"), WEIR_STARTUP_BAD, LENGTHS},
    {PACKET("\x16\3\1\2\0\1\0\1"), WEIR_STARTUP_BAD, LENGTHS},
    {PACKET("\0\0\0\x09\x04\xd2\x16/"), WEIR_STARTUP_BAD,
     "invalid length of encryption request packet"},
    {PACKET("\0\0\0\x0c\x04\xd2\x16\x30"), WEIR_STARTUP_BAD,
     "invalid length of encryption request packet"},
    {PACKET("\0\0\0\x0c\x04\xd2\x16\x2e"), WEIR_STARTUP_BAD,
     "invalid length of cancel request packet"},
    {PACKET("\0\0\1\x0d\x04\xd2\x16\x2e"), WEIR_STARTUP_BAD,
     "invalid length of cancel request packet"},
    /* versions and codes */
    {PACKET("\0\0\1\x28\0\2\0\0"), WEIR_STARTUP_BAD, "unsupported frontend protocol 2.0" SUPPORT},
    {PACKET("\0\0\0\x08\0\1\0\0"), WEIR_STARTUP_BAD, "unsupported frontend protocol 1.0" SUPPORT},
    {PACKET("\0\0\0\x10\0\4\0\1"), WEIR_STARTUP_BAD, "unsupported frontend protocol 4.1" SUPPORT},
    {PACKET("\0\0\0\x08\x04\xd2\x16\x31"), WEIR_STARTUP_BAD,
     "unsupported frontend protocol 1234.5681" SUPPORT},
    {PACKET("\0\0\0\x08\xff\xff\xff\xff"), WEIR_STARTUP_BAD,
     "unsupported frontend protocol 65535.65535" SUPPORT},
    {PACKET("\0\0\0\x08\0\0\0\0"), WEIR_STARTUP_BAD, "unsupported frontend protocol 0.0" SUPPORT},
    /* parameters */
    {PACKET("\0\0\0\x08\0\3\0\0"), WEIR_STARTUP_BAD, LAYOUT "no terminator"},
    {PACKET("\0\0\0\x09\0\3\0\0x"), WEIR_STARTUP_BAD, LAYOUT "expected terminator as last byte"},
    {PACKET("\0\0\0\x0e\0\3\0\0user\0\0"), WEIR_STARTUP_BAD, LAYOUT "parameter without value"},
    {PACKET("\0\0\0\x0a\0\3\0\0\0\0"), WEIR_STARTUP_BAD, LAYOUT "expected terminator as last byte"},
    {PACKET("\0\0\0\x0f\0\3\0\0\0user\0\0"), WEIR_STARTUP_BAD,
     LAYOUT "expected terminator as last byte"},
    {PACKET("\0\0\0\x15\0\3\0\0user\0alice\0\0\0"), WEIR_STARTUP_BAD,
     LAYOUT "expected terminator as last byte"},
    {PACKET("\0\0\0\x14\0\3\0\0user\0alice\0x"), WEIR_STARTUP_BAD,
     LAYOUT "expected terminator as last byte"},
};

static void expect_row(size_t row, const struct weir_startup *startup)
{
    const struct packet *packet = &packets[row];
    cr_assert_eq(startup->kind, packet->kind, "row %zu: kind %d", row, startup->kind);
    if (packet->problem == NULL) {
        cr_expect_null(startup->problem, "row %zu", row);
        cr_expect_eq(startup->length, packet->length, "row %zu", row);
    } else {
        cr_assert_not_null(startup->problem, "row %zu", row);
        cr_expect_str_eq(startup->problem, packet->problem, "row %zu", row);
    }
}

Test(startup, parses_the_table)
{
    for (size_t row = 0; row < COUNT_OF(packets); row++) {
        uint8_t *copy = copy_exactly(packets[row].bytes, packets[row].length);
        struct weir_startup startup;
        weir_startup_parse(copy, packets[row].length, &startup);
        expect_row(row, &startup);
        free(copy);
    }
}

Test(startup, does_not_look_behind_the_packet)
{
    for (size_t row = 0; row < COUNT_OF(packets); row++) {
        if (packets[row].problem != NULL) {
            continue;
        }
        uint8_t bytes[128];
        memset(bytes, 'Z', sizeof bytes);
        memcpy(bytes, packets[row].bytes, packets[row].length);
        struct weir_startup startup;
        weir_startup_parse(bytes, sizeof bytes, &startup);
        expect_row(row, &startup);
    }
}

/* How many bytes suffice to know: 4 for a bad length, 8 for a bad code, otherwise all. */
static size_t enough_for(const struct packet *packet)
{
    if (packet->problem == NULL || strncmp(packet->problem, LAYOUT, strlen(LAYOUT)) == 0) {
        return packet->length;
    }
    return strcmp(packet->problem, LENGTHS) == 0 ? 4 : 8;
}

Test(startup, waits_at_every_cut_until_it_can_know)
{
    for (size_t row = 0; row < COUNT_OF(packets); row++) {
        const size_t enough = enough_for(&packets[row]);
        for (size_t cut = 0; cut <= packets[row].length; cut++) {
            uint8_t *copy = copy_exactly(packets[row].bytes, cut);
            struct weir_startup startup;
            weir_startup_parse(copy, cut, &startup);
            if (cut >= enough) {
                expect_row(row, &startup);
            } else {
                cr_expect_eq(startup.kind, WEIR_STARTUP_INCOMPLETE, "row %zu cut at %zu", row, cut);
                cr_expect_null(startup.problem);
                cr_expect_eq(startup.length, cut < 4 ? 0 : weir_get_u32(copy));
            }
            free(copy);
        }
    }
}

Test(startup, accepts_no_bytes_at_all)
{
    struct weir_startup startup;
    weir_startup_parse(NULL, 0, &startup);
    cr_expect_eq(startup.kind, WEIR_STARTUP_INCOMPLETE);
    const char *name = NULL;
    const char *value = NULL;
    cr_expect_not(weir_startup_next(&startup, &name, &value));
}

Test(startup, hands_out_parameters_in_order)
{
    static const char packet[] =
        "\0\0\0\x34\0\3\0\0user\0alice\0options\0\0user\0bob\0database\0shop\0\0";
    static const char *const expected[][2] = {
        {"user", "alice"}, {"options", ""}, {"user", "bob"}, {"database", "shop"}};
    struct weir_startup startup;
    weir_startup_parse(BYTES(packet), LENGTH_OF(packet), &startup);
    cr_assert_eq(startup.kind, WEIR_STARTUP_LOGIN);
    cr_expect_eq(startup.version, WEIR_PROTOCOL_3_0);
    const char *name = NULL;
    const char *value = NULL;
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        cr_assert(weir_startup_next(&startup, &name, &value));
        cr_expect_str_eq(name, expected[i][0]);
        cr_expect_str_eq(value, expected[i][1]);
    }
    cr_expect_not(weir_startup_next(&startup, &name, &value));
    cr_expect_not(weir_startup_next(&startup, &name, &value));
}

Test(startup, tells_the_version_asked_for)
{
    struct weir_startup startup;
    weir_startup_parse(BYTES("\0\0\0\x09\0\3\0\2\0"), 9, &startup);
    cr_expect_eq(startup.version, WEIR_PROTOCOL_3_2);
    weir_startup_parse(BYTES("\0\0\0\x09\0\3\x27\x0f\0"), 9, &startup);
    cr_expect_eq(startup.kind, WEIR_STARTUP_LOGIN);
    cr_expect_eq(startup.version, 0x0003270f);
}

Test(startup, takes_cancel_keys_of_every_length)
{
    uint8_t packet[12 + WEIR_CANCEL_KEY_MAX + 1] = {0};
    weir_put_u32(packet + 4, 80877102);
    weir_put_u32(packet + 8, 4711);
    for (size_t key_length = 0; key_length <= WEIR_CANCEL_KEY_MAX + 1; key_length++) {
        weir_put_u32(packet, (uint32_t)(12 + key_length));
        struct weir_startup startup;
        weir_startup_parse(packet, 12 + key_length, &startup);
        if (key_length == 0 || key_length > WEIR_CANCEL_KEY_MAX) {
            cr_expect_eq(startup.kind, WEIR_STARTUP_BAD, "%zu", key_length);
            continue;
        }
        cr_assert_eq(startup.kind, WEIR_STARTUP_CANCEL, "%zu", key_length);
        cr_expect_eq(startup.pid, 4711);
        cr_expect_eq(startup.key, packet + 12);
        cr_expect_eq(startup.key_length, key_length);
    }
}

Test(startup, takes_the_largest_packet)
{
    uint8_t *packet = malloc(WEIR_STARTUP_MAX);
    cr_assert_not_null(packet);
    memset(packet, 'v', WEIR_STARTUP_MAX);
    weir_put_u32(packet, WEIR_STARTUP_MAX);
    weir_put_u32(packet + 4, WEIR_PROTOCOL_3_0);
    memcpy(packet + 8, "user", 5);
    packet[WEIR_STARTUP_MAX - 2] = 0;
    packet[WEIR_STARTUP_MAX - 1] = 0;
    struct weir_startup startup;
    weir_startup_parse(packet, WEIR_STARTUP_MAX, &startup);
    cr_assert_eq(startup.kind, WEIR_STARTUP_LOGIN);
    const char *name = NULL;
    const char *value = NULL;
    cr_assert(weir_startup_next(&startup, &name, &value));
    cr_expect_str_eq(name, "user");
    cr_expect_eq(strlen(value), WEIR_STARTUP_MAX - 8 - 5 - 2);
    free(packet);
}
