/* Commands that answer when something has come to pass: asked after by a timer, which runs only
 * while somebody waits. */
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "weir/memory.h"
#include "weir/operator.h"

static bool is_over(const struct guest *guest)
{
    const struct weir_router *router = guest->admin->router;
    switch (guest->wait) {
    case WAIT_PAUSE:
        return weir_operator_is_paused_out(router, guest->wait_database);
    case WAIT_SUSPEND:
        return weir_operator_is_suspended(router);
    case WAIT_CLOSE:
        return weir_operator_is_reconnected(router, guest->wait_database);
    case WAIT_NONE:
        break;
    }
    return true;
}

/* Somebody has resumed meanwhile: what is waited for will not come. */
static bool is_undone(const struct guest *guest)
{
    const struct weir_router *router = guest->admin->router;
    if (guest->wait == WAIT_SUSPEND)
        return !weir_operator_suspends(router);
    return guest->wait == WAIT_PAUSE && !weir_operator_is_paused(router, guest->wait_database);
}

void wait_begin(struct guest *guest, enum wait wait, const char *database)
{
    struct weir_admin *admin = guest->admin;
    guest->wait = wait;
    guest->wait_database = weir_strdup(database);
    if (is_over(guest)) {
        wait_end(guest);
        portal_complete(guest);
        return;
    }
    if (admin->wait_count >= WAITS_MAX) {
        wait_end(guest);
        guest_fail(guest, "53000",
                   "%d commands of the console wait already; this one has begun and is not waited "
                   "for",
                   WAITS_MAX);
        return;
    }
    guest->state = GUEST_WAITING;
    weir_list_push_back(&admin->waiting, &guest->waiting);
    if (admin->wait_count++ == 0)
        ev_timer_again(admin->loop->ev, &admin->look);
}

void wait_end(struct guest *guest)
{
    struct weir_admin *admin = guest->admin;
    guest->wait = WAIT_NONE;
    guest->paused_here = false;
    free(guest->wait_database);
    guest->wait_database = NULL;
    if (!weir_list_is_linked(&guest->waiting))
        return;
    weir_list_remove(&guest->waiting);
    if (--admin->wait_count == 0)
        ev_timer_stop(admin->loop->ev, &admin->look);
}

void wait_look(struct weir_admin *admin)
{
    weir_list_for_safe(link, &admin->waiting) {
        struct guest *guest = weir_container_of(link, struct guest, waiting);
        bool undone = is_undone(guest);
        if (!undone && !is_over(guest))
            continue;
        wait_end(guest);
        if (undone)
            guest_fail(guest, "57014", "%s was ended by a RESUME", guest->running->command.tag);
        else
            portal_complete(guest);
        admin_busy(guest);
    }
}

static bool is_same_wait(const struct guest *left, const struct guest *right)
{
    if (left->wait != right->wait)
        return false;
    if (left->wait_database == NULL || right->wait_database == NULL)
        return left->wait_database == right->wait_database;
    return strcmp(left->wait_database, right->wait_database) == 0;
}

void wait_cancel(struct guest *guest)
{
    bool shared = false;
    weir_list_for(link, &guest->admin->waiting) {
        const struct guest *other = weir_container_of(link, struct guest, waiting);
        if (other != guest && is_same_wait(other, guest))
            shared = true;
    }
    bool undo = guest->paused_here && !shared;
    if (undo && guest->wait == WAIT_PAUSE)
        weir_operator_take_pause_back(guest->admin->router, guest->wait_database);
    if (undo && guest->wait == WAIT_SUSPEND)
        weir_operator_resume(guest->admin->router, NULL);
    wait_end(guest);
    guest_fail(guest, "57014", "canceling statement due to user request%s",
               undo ? "; what it had begun is undone" : "");
}
