/* A user's name inside a filter or a distinguished name: whatever it is, it stays one value, and that
 * value is the name. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/verifier/room.h"
#include "weir/memory.h"
#include "weir/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int digit_of(char character)
{
    const char *digits = "0123456789abcdef";
    const char *found = character != '\0' ? strchr(digits, character) : NULL;
    weir_require(found != NULL);
    return (int)(found - digits);
}

/* Of a value that ends at `end`, with none of `special` in it unless escaped. */
static void check_value(const char *value, const char *end, const char *special, const char *name)
{
    for (; value < end; name++) {
        char character = *value++;
        weir_require(strchr(special, character) == NULL || character == '\\');
        if (character == '\\') {
            weir_require(end - value >= 2);
            character = (char)(digit_of(value[0]) * 16 + digit_of(value[1]));
            value += 2;
        }
        weir_require(character == *name);
    }
    weir_require(*name == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *name = weir_strndup((const char *)data, size < 4096 ? size : 4096);
    char *filter = ldap_text_filter("uid", NULL, name);
    size_t length = strlen(filter);
    weir_require(length >= 6 && memcmp(filter, "(uid=", 5) == 0 && filter[length - 1] == ')');
    check_value(filter + 5, filter + length - 1, "*()\\", name);
    free(filter);

    char *bound = ldap_text_bind_name("uid=", name, ",dc=x");
    length = strlen(bound);
    weir_require(length >= 9 && memcmp(bound, "uid=", 4) == 0);
    weir_require(strcmp(bound + length - 5, ",dc=x") == 0);
    check_value(bound + 4, bound + length - 5, "\"+,;<>=\\", name);
    weir_require(bound[4] != ' ' && bound[4] != '#');
    weir_require(length == 9 || bound[length - 6] != ' ');
    free(bound);

    char *plain = ldap_text_bind_name("", name, "@x");
    weir_require(plain == NULL || strpbrk(name, ",=\\@") == NULL);
    free(plain);

    /* The text of a filter is the administrator's, and may be as long as it likes. */
    free(ldap_text_filter(NULL, name, "a*"));
    free(ldap_text_addresses("ldap", name, 1));
    free(name);
    return 0;
}
