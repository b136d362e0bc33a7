#include "weir/backend.h"

#include <criterion/criterion.h>
#include <string.h>

#include "weir/require.h"

/* Of the leak checker, in builds that have it. */
__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

static void check_leaks(void)
{
    weir_require(__lsan_do_recoverable_leak_check == NULL ||
                 __lsan_do_recoverable_leak_check() == 0);
}

Test(parameters, set_tells_what_changed)
{
    struct weir_parameters parameters = {0};
    cr_assert_null(weir_parameters_get(&parameters, "TimeZone"));
    cr_assert(weir_parameters_set(&parameters, "TimeZone", "UTC"));
    cr_assert_not(weir_parameters_set(&parameters, "TimeZone", "UTC"));
    cr_assert_not(weir_parameters_set(&parameters, "timezone", "UTC"));
    cr_assert(weir_parameters_set(&parameters, "TIMEZONE", "CET"));
    cr_assert_eq(parameters.count, 1);
    cr_assert_str_eq(parameters.items[0].name, "TimeZone");
    cr_assert_str_eq(weir_parameters_get(&parameters, "timeZONE"), "CET");
    cr_assert(weir_parameters_set(&parameters, "search_path", ""));
    cr_assert_str_eq(weir_parameters_get(&parameters, "search_path"), "");
    weir_parameters_clear(&parameters);
    cr_assert_eq(parameters.count, 0);
    cr_assert_null(parameters.items);
    weir_parameters_clear(&parameters);
    check_leaks();
}

Test(parameters, order_of_the_server_is_kept)
{
    static const char *const names[] = {"z", "a", "m", "b"};
    struct weir_parameters parameters = {0};
    for (size_t i = 0; i < 4; i++)
        weir_parameters_set(&parameters, names[i], "1");
    weir_parameters_set(&parameters, "a", "2");
    for (size_t i = 0; i < 4; i++)
        cr_assert_str_eq(parameters.items[i].name, names[i]);
    weir_parameters_clear(&parameters);
    check_leaks();
}

Test(parameters, equality_is_without_order)
{
    struct weir_parameters left = {0}, right = {0};
    cr_assert(weir_parameters_equal(&left, &right));
    weir_parameters_set(&left, "a", "1");
    cr_assert_not(weir_parameters_equal(&left, &right));
    cr_assert_not(weir_parameters_equal(&right, &left));
    weir_parameters_set(&left, "b", "2");
    weir_parameters_set(&right, "B", "2");
    weir_parameters_set(&right, "A", "1");
    cr_assert(weir_parameters_equal(&left, &right));
    weir_parameters_set(&right, "a", "3");
    cr_assert_not(weir_parameters_equal(&left, &right));
    weir_parameters_copy(&right, &left);
    cr_assert(weir_parameters_equal(&left, &right));
    cr_assert_neq(left.items[0].value, right.items[0].value);
    weir_parameters_clear(&left);
    cr_assert_str_eq(weir_parameters_get(&right, "b"), "2");
    weir_parameters_copy(&right, &left);
    cr_assert_eq(right.count, 0);
    weir_parameters_clear(&right);
    check_leaks();
}

Test(parameters, values_of_any_length)
{
    enum { LONG = 1000000 };
    static char value[LONG + 1];
    struct weir_parameters parameters = {0};
    memset(value, 'v', LONG);
    cr_assert(weir_parameters_set(&parameters, "search_path", value));
    cr_assert_eq(strlen(weir_parameters_get(&parameters, "search_path")), LONG);
    weir_parameters_clear(&parameters);
    check_leaks();
}

Test(parameters, facts_are_no_settings)
{
    cr_assert(weir_parameter_is_setting("TimeZone"));
    cr_assert(weir_parameter_is_setting("application_name"));
    cr_assert(weir_parameter_is_setting("DateStyle"));
    cr_assert_not(weir_parameter_is_setting("server_version"));
    cr_assert_not(weir_parameter_is_setting("Server_Encoding"));
    cr_assert_not(weir_parameter_is_setting("in_hot_standby"));
    cr_assert_not(weir_parameter_is_setting("is_superuser"));
}
