#include "weir/memory.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Asked by the address sanitizer, which else aborts where malloc returns NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

Test(memory, is_zeroed)
{
    unsigned char *bytes = weir_alloc(1000);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(bytes[i], 0);
    free(bytes);
    void *nothing = weir_alloc(0);
    cr_assert_not_null(nothing);
    free(nothing);
}

Test(memory, try_alloc_returns_null_for_the_impossible)
{
    cr_assert_null(weir_try_alloc(PTRDIFF_MAX));
}

Test(memory, alloc_aborts_for_the_impossible, .signal = SIGABRT)
{
    free(weir_alloc(PTRDIFF_MAX));
}

Test(memory, copies_and_formats)
{
    cr_assert_null(weir_strdup(NULL));
    char *copy = weir_strdup("text");
    cr_assert_str_eq(copy, "text");
    free(copy);
    copy = weir_strndup("abcdef", 3);
    cr_assert_str_eq(copy, "abc");
    free(copy);
    copy = weir_strndup("a\0b", 3);
    cr_assert_eq(memcmp(copy, "a\0b", 4), 0);
    free(copy);
    copy = weir_format("%s=%d", "n", 7);
    cr_assert_str_eq(copy, "n=7");
    free(copy);
}

Test(memory, wipe_zeroes)
{
    char secret[] = "secret";
    weir_wipe(secret, sizeof(secret));
    for (size_t i = 0; i < sizeof(secret); i++)
        cr_assert_eq(secret[i], 0);
    weir_wipe(NULL, 0);
}
