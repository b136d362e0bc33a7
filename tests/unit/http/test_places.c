#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "places.h"

static void check(const char *text, const char *expected)
{
    struct weir_http_places places;
    char *problem = NULL;
    char got[1024] = "";
    cr_assert(weir_http_places_read(text, &places, &problem), "%s: %s", text, problem);
    for (size_t i = 0; i < places.count; i++) {
        size_t used = strlen(got);
        snprintf(got + used, sizeof(got) - used, "%s%s %d", i > 0 ? ", " : "",
                 places.place[i].address, places.place[i].port);
    }
    cr_assert_str_eq(got, expected, "%s", text);
}

Test(places, good)
{
    check("9632", "127.0.0.1 9632");
    check("127.0.0.1:1", "127.0.0.1 1");
    check(" localhost:80 ,[::1]:65535", "127.0.0.1 80, ::1 65535");
    check("*:9632", "* 9632");
    check("[2001:db8::1]:9,10.0.0.1:10", "2001:db8::1 9, 10.0.0.1 10");
    check("1,2,3,4,5,6,7,8", "127.0.0.1 1, 127.0.0.1 2, 127.0.0.1 3, 127.0.0.1 4, 127.0.0.1 5, "
                             "127.0.0.1 6, 127.0.0.1 7, 127.0.0.1 8");
}

Test(places, bad)
{
    static const char *const bad[] = {
        "x",
        ":",
        "::1:80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:80x",
        "127.0.0.1: 80",
        "db.example:80",
        "[::1:80",
        "[]:80",
        "[:80",
        "1,,2",
        "1,",
        ",",
        "1,2,3,4,5,6,7,8,9",
        "127.0.0.1:99999999999999999999",
        "300.0.0.1:80",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct weir_http_places places;
        char *problem = NULL;
        cr_assert_not(weir_http_places_read(bad[i], &places, &problem), "%s", bad[i]);
        cr_assert_not_null(problem);
        free(problem);
    }
}
