#include "weir/settings_profile.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct weir_profile_set *set;

static void create(void)
{
    set = weir_profile_set_create();
}

static void destroy(void)
{
    weir_profile_set_destroy(set);
}

TestSuite(profile, .init = create, .fini = destroy, .timeout = 60);

static const struct weir_profile *make(size_t count, const struct weir_setting *settings)
{
    return weir_profile_make(set, settings, count);
}

Test(profile, the_empty_one_is_one)
{
    const struct weir_profile *first = weir_profile_empty(set), *second = weir_profile_empty(set);
    const struct weir_profile *made = make(0, NULL);
    cr_assert_eq(first, second);
    cr_assert_eq(first, made);
    cr_assert_eq(first->count, 0);
    cr_assert_eq(first->references, 3);
    cr_assert_null(weir_profile_value(first, "timezone"));
    weir_profile_unref(first);
    weir_profile_unref(second);
    weir_profile_unref(made);
    /* It can come again after it has gone. */
    first = weir_profile_empty(set);
    cr_assert_eq(first->references, 1);
    weir_profile_unref(first);
}

Test(profile, equal_sets_are_the_same_object)
{
    static const struct weir_setting forth[] = {
        {"datestyle", "ISO"}, {"timezone", "UTC"}, {"a", "1"}};
    static const struct weir_setting back[] = {
        {"a", "1"}, {"TimeZone", "UTC"}, {"DATESTYLE", "ISO"}};
    const struct weir_profile *left = make(3, forth), *right = make(3, back);
    cr_assert_eq(left, right);
    cr_assert_eq(left->references, 2);
    cr_assert_eq(left->count, 3);
    cr_assert_str_eq(left->settings[0].name, "a");
    cr_assert_str_eq(left->settings[1].name, "datestyle");
    cr_assert_str_eq(left->settings[2].name, "timezone");
    cr_assert_str_eq(weir_profile_value(left, "timezone"), "UTC");
    weir_profile_unref(left);
    weir_profile_unref(right);
}

/* All 24 orders of four settings lead to one object, by make and step by step. */
Test(profile, order_does_not_count)
{
    static const struct weir_setting all[] = {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}};
    const struct weir_profile *known = make(4, all);
    int orders = 0;
    for (int w = 0; w < 4; w++)
        for (int x = 0; x < 4; x++)
            for (int y = 0; y < 4; y++) {
                int z = 6 - w - x - y;
                if (w == x || w == y || x == y)
                    continue;
                const struct weir_setting list[] = {all[w], all[x], all[y], all[z]};
                const struct weir_profile *made = make(4, list);
                cr_assert_eq(made, known);
                weir_profile_unref(made);
                orders++;
            }
    cr_assert_eq(orders, 24);
    cr_assert_eq(known->references, 1);
    weir_profile_unref(known);
}

Test(profile, of_equal_names_the_last_wins)
{
    static const struct weir_setting twice[] = {{"TimeZone", "UTC"}, {"timezone", "CET"}};
    const struct weir_profile *profile = make(2, twice);
    cr_assert_eq(profile->count, 1);
    cr_assert_str_eq(weir_profile_value(profile, "timezone"), "CET");
    weir_profile_unref(profile);
}

Test(profile, with_and_without_go_there_and_back)
{
    const struct weir_profile *empty = weir_profile_empty(set);
    const struct weir_profile *one = weir_profile_with(empty, "Work_Mem", "4MB");
    const struct weir_profile *two = weir_profile_with(one, "timezone", "UTC");
    const struct weir_profile *changed = weir_profile_with(two, "WORK_MEM", "8MB");
    cr_assert_eq(empty->count, 0);
    cr_assert_eq(one->count, 1);
    cr_assert_eq(two->count, 2);
    cr_assert_neq(changed, two);
    cr_assert_str_eq(weir_profile_value(two, "work_mem"), "4MB");
    cr_assert_str_eq(weir_profile_value(changed, "work_mem"), "8MB");
    const struct weir_profile *same = weir_profile_with(two, "timezone", "UTC");
    cr_assert_eq(same, two);
    const struct weir_profile *back = weir_profile_with(two, "TIMEZONE", NULL);
    cr_assert_eq(back, one);
    const struct weir_profile *gone = weir_profile_with(one, "work_mem", NULL);
    cr_assert_eq(gone, empty);
    const struct weir_profile *unknown = weir_profile_with(one, "no_such", NULL);
    cr_assert_eq(unknown, one);
    const struct weir_profile *all[] = {empty, one, two, changed, same, back, gone, unknown};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        weir_profile_unref(all[i]);
}

/* Names and values lie side by side in one block: where one ends counts. */
Test(profile, neighbouring_texts_are_not_mixed_up)
{
    static const struct weir_setting lists[][2] = {
        {{"a", "bc"}, {"d", ""}}, {{"ab", "c"}, {"d", ""}}, {{"a", "b"}, {"cd", ""}},
        {{"a", ""}, {"bcd", ""}}, {{"a", "b"}, {"c", "d"}}, {{"a", "bcd"}, {"", ""}},
    };
    enum { LISTS = sizeof lists / sizeof lists[0] };
    const struct weir_profile *made[LISTS];
    for (int i = 0; i < LISTS; i++)
        made[i] = make(2, lists[i]);
    for (int i = 0; i < LISTS; i++)
        for (int k = 0; k < i; k++)
            cr_assert_neq(made[i], made[k], "%d and %d", i, k);
    for (int i = 0; i < LISTS; i++)
        weir_profile_unref(made[i]);
}

Test(profile, empty_value_is_a_value)
{
    const struct weir_profile *empty = weir_profile_empty(set);
    const struct weir_profile *profile = weir_profile_with(empty, "search_path", "");
    cr_assert_neq(profile, empty);
    cr_assert_str_eq(weir_profile_value(profile, "search_path"), "");
    weir_profile_unref(profile);
    weir_profile_unref(empty);
}

Test(profile, values_of_any_length_and_byte)
{
    enum { LONG = 5 * 1000 * 1000 };
    char *value = malloc(LONG + 1);
    for (int i = 0; i < LONG; i++)
        value[i] = (char)(i % 255 + 1);
    value[LONG] = '\0';
    const struct weir_profile *empty = weir_profile_empty(set);
    const struct weir_profile *first = weir_profile_with(empty, "search_path", value);
    cr_assert_eq(strlen(weir_profile_value(first, "search_path")), LONG);
    cr_assert_eq(strcmp(weir_profile_value(first, "search_path"), value), 0);
    value[LONG - 1] ^= 1;
    const struct weir_profile *other = weir_profile_with(empty, "search_path", value);
    cr_assert_neq(first, other);
    value[LONG - 1] ^= 1;
    const struct weir_profile *again = weir_profile_with(other, "search_path", value);
    cr_assert_eq(first, again);
    free(value);
    weir_profile_unref(first);
    weir_profile_unref(other);
    weir_profile_unref(again);
    weir_profile_unref(empty);
}

/* The value given may lie in the very profile that is changed, and in one that goes. */
Test(profile, text_of_another_profile_is_copied)
{
    static const struct weir_setting pair[] = {{"a", "value"}, {"b", "other"}};
    const struct weir_profile *from = make(2, pair);
    const struct weir_profile *to = weir_profile_with(from, "b", weir_profile_value(from, "a"));
    weir_profile_unref(from);
    cr_assert_str_eq(weir_profile_value(to, "a"), "value");
    cr_assert_str_eq(weir_profile_value(to, "b"), "value");
    weir_profile_unref(to);
}

Test(profile, many_references_and_many_profiles)
{
    enum { PROFILES = 500, REFERENCES = 100000 };
    const struct weir_profile *made[PROFILES];
    const struct weir_profile *empty = weir_profile_empty(set);
    for (int i = 0; i < PROFILES; i++) {
        char text[32];
        snprintf(text, sizeof text, "client %d", i);
        made[i] = weir_profile_with(empty, "application_name", text);
    }
    for (int i = 0; i < PROFILES; i++) {
        char text[32];
        snprintf(text, sizeof text, "client %d", i);
        const struct weir_profile *again = weir_profile_with(empty, "application_name", text);
        cr_assert_eq(again, made[i]);
        cr_assert_eq(again->references, 2);
        weir_profile_unref(again);
    }
    for (int i = 0; i < REFERENCES; i++)
        cr_assert_eq(weir_profile_ref(made[7]), made[7]);
    cr_assert_eq(made[7]->references, REFERENCES + 1);
    for (int i = 0; i < REFERENCES; i++)
        weir_profile_unref(made[7]);
    cr_assert_str_eq(weir_profile_value(made[7], "application_name"), "client 7");
    for (int i = 0; i < PROFILES; i++)
        weir_profile_unref(made[i]);
    weir_profile_unref(empty);
    weir_profile_unref(NULL);
}

Test(profile, what_is_still_referred_to_goes_with_the_set)
{
    /* Two of them are never given back; the leak checker watches. */
    const struct weir_profile *empty = weir_profile_empty(set);
    cr_assert_not_null(weir_profile_with(empty, "a", "b"));
    weir_profile_set_destroy(NULL);
}

Test(profile, one_reference_too_few, .signal = SIGABRT)
{
    struct weir_profile lonely = {.set = set};
    weir_profile_unref(&lonely);
}
