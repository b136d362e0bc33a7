#include "support.h"

#include "socket.h"

static const char *print(const struct weir_address *address)
{
    static char text[256];
    weir_address_print(address, text, sizeof text);
    return text;
}

Test(address, internet_addresses)
{
    struct weir_address address = {.length = sizeof(struct sockaddr_in)};
    struct sockaddr_in *four = (struct sockaddr_in *)(void *)&address.storage;
    four->sin_family = AF_INET;
    four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    weir_address_set_port(&address, 5432);
    cr_assert_str_eq(print(&address), "127.0.0.1:5432");

    struct weir_address other = {.length = sizeof(struct sockaddr_in6)};
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)&other.storage;
    six->sin6_family = AF_INET6;
    six->sin6_addr = in6addr_loopback;
    weir_address_set_port(&other, 65535);
    cr_assert_str_eq(print(&other), "[::1]:65535");
}

Test(address, unix_addresses)
{
    struct weir_address address;
    cr_assert(weir_address_set_unix(&address, "/run/pg", 5432));
    cr_assert(weir_address_is_unix(&address));
    cr_assert_str_eq(print(&address), "unix:/run/pg/.s.PGSQL.5432");
    cr_assert(weir_address_set_unix(&address, "@weir", 1));
    cr_assert_eq(address.unix_path.sun_path[0], '\0');
    cr_assert_str_eq(print(&address), "unix:@weir/.s.PGSQL.1");
    /* What accept gives for a peer that has no name. */
    address.length = sizeof(sa_family_t);
    cr_assert_str_eq(print(&address), "unix:");
}

Test(address, unix_paths_may_be_just_short_enough)
{
    struct weir_address address;
    char directory[200];
    size_t room = sizeof address.unix_path.sun_path - 1 - strlen("/.s.PGSQL.5432");
    memset(directory, 'd', sizeof directory);
    directory[0] = '/';
    directory[room] = '\0';
    cr_assert(weir_address_set_unix(&address, directory, 5432));
    cr_assert_eq(strlen(address.unix_path.sun_path), sizeof address.unix_path.sun_path - 1);
    directory[room] = 'd';
    directory[room + 1] = '\0';
    cr_assert_not(weir_address_set_unix(&address, directory, 5432));
}

Test(address, text_always_ends)
{
    struct weir_address address;
    char text[16];
    cr_assert(weir_address_set_unix(&address, "/a/rather/long/directory", 5432));
    for (size_t size = 1; size <= sizeof text; size++) {
        memset(text, 'x', sizeof text);
        weir_address_print(&address, text, size);
        cr_assert_eq(strlen(text), size - 1);
    }
    memset(text, 'x', sizeof text);
    weir_address_print(&address, text, 0);
    cr_assert_eq(text[0], 'x');
}

Test(address, unknown_family_is_no_crash)
{
    struct weir_address address = {.length = sizeof(struct sockaddr_in)};
    address.any.sa_family = 77;
    cr_assert_str_eq(print(&address), "unknown");
}
