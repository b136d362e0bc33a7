#include "weir/reason.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <signal.h>
#include <string.h>

Test(reason, rows_are_whole)
{
    for (int i = 0; i < WEIR_REASON_COUNT; i++) {
        const struct weir_reason_row *row = weir_reason_row((enum weir_reason)i);
        cr_assert_gt(strlen(row->name), 0);
        for (const char *c = row->name; *c != '\0'; c++)
            cr_assert(islower((unsigned char)*c) || *c == '_', "%s", row->name);
        cr_assert_gt(strlen(row->text), 0);
        cr_assert(row->sqlstate == NULL || strlen(row->sqlstate) == 5, "%s", row->name);
        for (int j = 0; j < i; j++)
            cr_assert_str_neq(row->name, weir_reason_row((enum weir_reason)j)->name);
    }
}

Test(reason, names_are_stable)
{
    const struct weir_reason_row *row = weir_reason_row(WEIR_REASON_POOL_TIMEOUT);
    cr_assert_str_eq(row->name, "pool_timeout");
    cr_assert_str_eq(row->sqlstate, "53300");
    cr_assert_not(row->fatal);
}

Test(reason, beyond_the_table_aborts, .signal = SIGABRT)
{
    weir_reason_row(WEIR_REASON_COUNT);
}
