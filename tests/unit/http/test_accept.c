#include <criterion/criterion.h>

#include "accept.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What Prometheus sends, of 2.5 to 2.49, and of 3. */
static const char prometheus[] =
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
static const char prometheus_3[] =
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

Test(accept, format)
{
    static const struct {
        const char *accept;
        bool open_metrics;
    } cases[] = {
        {NULL, false},
        {"", false},
        {"*/*", false},
        {"text/html", false},
        {prometheus, true},
        {prometheus_3, true},
        {"application/openmetrics-text", true},
        {"application/openmetrics-text; version=1.0.0", true},
        {"application/openmetrics-text;version=0.0.1", false},
        {"application/openmetrics-text;version=0.0.1;q=0.75,application/"
         "openmetrics-text;version=1.0.0;q=0.5,"
         "text/plain;q=0.1",
         true},
        {"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/"
         "*;q=0.1",
         true},
        {"text/plain;q=0.9, application/openmetrics-text;q=0.5", false},
        {"text/plain;q=0.500, application/openmetrics-text;q=0.50", true},
        {"text/plain;q=0.5, application/openmetrics-text;q=0.499", false},
        {"application/openmetrics-text;q=0", false},
        {"application/openmetrics-text-too", false},
        {"application/openmetrics", false},
        {"APPLICATION/OpenMetrics-Text", true},
        {",,, ,application/openmetrics-text,,", true},
        {"application/openmetrics-text;q=", false},
        {";q=1,", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_assert_eq(weir_http_negotiate(cases[i].accept) == WEIR_HTTP_OPENMETRICS,
                     cases[i].open_metrics, "%s",
                     cases[i].accept != NULL ? cases[i].accept : "none");
}

Test(accept, gzip)
{
    static const struct {
        const char *accept;
        bool gzip;
    } cases[] = {
        {NULL, false},
        {"", false},
        {"gzip", true},
        {"GZip", true},
        {"x-gzip", true},
        {"gzip, deflate, br, zstd", true},
        {"br;q=1.0, gzip;q=0.8, *;q=0.1", true},
        {"gzip , deflate", true},
        {"  ,\t, gzip\t;\tq=1.000 ,", true},
        {"deflate", false},
        {"identity", false},
        {"*", false}, /* names nothing that the client is known to understand */
        {"gzip;q=0", false},
        {"gzip;q=0.0", false},
        {"gzip;q=0.000", false},
        {"gzip; q=0", false},
        {"gzip;Q=0", false},
        {"gzip;q=0.001", true},
        {"gzip;q=1", true},
        {"gzip;q=1.", true},
        {"gzip;level=9;q=0", false},
        {"gzip;level=9", true},
        {"*;q=0, gzip", true},
        {"gzip;q=0, *;q=1", false},
        {"identity, gzip;q=0.5", false},
        {"identity;q=0.5, gzip;q=0.5", true},
        {"identity;q=0, gzip;q=0", false},
        /* not understood */
        {"gzipped", false},
        {"gzi", false},
        {"gzip deflate", false},
        {"gzip deflate;q=1", false},
        {"deflate gzip", false},
        {"gzip;q=2", false},
        {"gzip;q=1.001", false},
        {"gzip;q=-1", false},
        {"gzip;q=.5", false},
        {"gzip;q=0.5555", false},
        {"gzip;q=0.5x", false},
        {"gzip;q=yes", false},
        {"gzip;q=", false},
        {"gzip;q", true},
        {"gzip;", true},
        {"gzip;;;", true},
        {";q=1", false},
        {"\"gzip\"", false},
        {"\xff\xfe,gzip", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        cr_assert_eq(weir_http_accepts_gzip(cases[i].accept), cases[i].gzip, "%s",
                     cases[i].accept != NULL ? cases[i].accept : "none");
}
