#include "weir/list.h"

#include <criterion/criterion.h>
#include <signal.h>

struct item {
    int value;
    struct weir_list link;
};

Test(list, keeps_order)
{
    struct weir_list head;
    struct item items[4] = {{1}, {2}, {3}, {4}};
    weir_list_init(&head);
    cr_assert_null(weir_list_pop(&head));
    weir_list_push_back(&head, &items[1].link);
    weir_list_push_back(&head, &items[2].link);
    weir_list_push_front(&head, &items[0].link);
    weir_list_push_back(&head, &items[3].link);
    int expected = 1;
    weir_list_for(node, &head)
        cr_assert_eq(weir_container_of(node, struct item, link)->value, expected++);
    cr_assert_eq(expected, 5);
    weir_list_for_safe(node, &head) {
        if (weir_container_of(node, struct item, link)->value % 2 == 0)
            weir_list_remove(node);
    }
    cr_assert_not(weir_list_is_linked(&items[1].link));
    cr_assert_eq(weir_list_pop(&head), &items[0].link);
    cr_assert_eq(weir_list_pop(&head), &items[2].link);
    cr_assert(weir_list_is_empty(&head));
}

Test(list, splice_moves_all)
{
    struct weir_list from;
    struct weir_list to;
    struct item items[2] = {{1}, {2}};
    weir_list_init(&from);
    weir_list_splice(&to, &from);
    cr_assert(weir_list_is_empty(&to));
    weir_list_push_back(&from, &items[0].link);
    weir_list_push_back(&from, &items[1].link);
    weir_list_splice(&to, &from);
    cr_assert(weir_list_is_empty(&from));
    cr_assert_eq(weir_list_pop(&to), &items[0].link);
    cr_assert_eq(weir_list_pop(&to), &items[1].link);
    cr_assert_null(weir_list_pop(&to));
}

Test(list, double_insert_aborts, .signal = SIGABRT)
{
    struct weir_list head;
    struct item item = {1};
    weir_list_init(&head);
    weir_list_push_back(&head, &item.link);
    weir_list_push_back(&head, &item.link);
}

Test(list, double_removal_aborts, .signal = SIGABRT)
{
    struct weir_list head;
    struct item item = {1};
    weir_list_init(&head);
    weir_list_push_back(&head, &item.link);
    weir_list_remove(&item.link);
    weir_list_remove_if_linked(&item.link);
    weir_list_remove(&item.link);
}
