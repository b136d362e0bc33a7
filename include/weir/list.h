/* Intrusive doubly linked lists: state is list membership.
 *
 * A head and a node are the same struct. An unlinked node has next == NULL, so a double insert or a
 * double removal is caught at once. */
#ifndef WEIR_LIST_H
#define WEIR_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/require.h"

struct weir_list {
    struct weir_list *next;
    struct weir_list *prev;
};

#define weir_container_of(pointer, type, member)                                                   \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void weir_list_init(struct weir_list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool weir_list_is_empty(const struct weir_list *head)
{
    return head->next == head;
}

static inline bool weir_list_is_linked(const struct weir_list *node)
{
    return node->next != NULL;
}

static inline void weir_list_insert_between(struct weir_list *node, struct weir_list *before,
                                            struct weir_list *after)
{
    weir_require(node->next == NULL);
    node->prev = before;
    node->next = after;
    before->next = node;
    after->prev = node;
}

static inline void weir_list_push_back(struct weir_list *head, struct weir_list *node)
{
    weir_list_insert_between(node, head->prev, head);
}

static inline void weir_list_push_front(struct weir_list *head, struct weir_list *node)
{
    weir_list_insert_between(node, head, head->next);
}

/* Unlinks; the node must be linked. */
static inline void weir_list_remove(struct weir_list *node)
{
    weir_require(node->next != NULL);
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
}

static inline void weir_list_remove_if_linked(struct weir_list *node)
{
    if (node->next != NULL)
        weir_list_remove(node);
}

/* First node or NULL; stays linked. */
static inline struct weir_list *weir_list_first(const struct weir_list *head)
{
    return head->next == head ? NULL : head->next;
}

/* Unlinks and returns the first node, or NULL. */
static inline struct weir_list *weir_list_pop(struct weir_list *head)
{
    struct weir_list *node = weir_list_first(head);
    if (node != NULL)
        weir_list_remove(node);
    return node;
}

/* Moves every node of `from` to the (empty) list `to`, so that a walk sees a fixed set. */
static inline void weir_list_splice(struct weir_list *to, struct weir_list *from)
{
    weir_list_init(to);
    if (weir_list_is_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    weir_list_init(from);
}

#define weir_list_for(node, head)                                                                  \
    for (struct weir_list *node = (head)->next; node != (head); node = node->next)

/* Survives removal of the current node only. */
#define weir_list_for_safe(node, head)                                                             \
    for (struct weir_list *node = (head)->next, *node##_next = node->next; node != (head);         \
         node = node##_next, node##_next = node->next)

#endif
