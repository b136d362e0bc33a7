#include <stdlib.h>

#include "console.h"
#include "weir/memory.h"

/* How often it is asked whether what a command waits for has come. */
#define LOOK_SECONDS 0.05

void admin_busy(struct guest *guest)
{
    struct weir_admin *admin = guest->admin;
    if (!weir_list_is_linked(&guest->busy))
        weir_list_push_back(&admin->busy, &guest->busy);
    if (!ev_is_active(&admin->work)) {
        ev_timer_set(&admin->work, 0., 0.);
        ev_timer_start(admin->loop->ev, &admin->work);
    }
}

/* One guest a turn: its slice is all that the console adds to the length of this turn. */
static void on_work(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct weir_admin *admin = timer->data;
    struct weir_list *link = weir_list_pop(&admin->busy);
    if (link == NULL)
        return;
    guest_work(weir_container_of(link, struct guest, busy));
    if (!weir_list_is_empty(&admin->busy) && !ev_is_active(timer)) {
        ev_timer_set(timer, 0., 0.);
        ev_timer_start(ev, timer);
    }
}

static void on_look(struct ev_loop *ev, ev_timer *timer, int events)
{
    wait_look(timer->data);
}

/* --- what the router tells ------------------------------------------------------------------ */

static void attach(void *context, struct weir_client *client, enum weir_console_rights rights)
{
    guest_create(context, client, rights);
}

static struct guest *find_guest(struct weir_admin *admin, const struct weir_client *client)
{
    weir_list_for(link, &admin->guests) {
        struct guest *guest = weir_container_of(link, struct guest, link);
        if (guest->client == client)
            return guest;
    }
    return NULL;
}

static void detach(void *context, struct weir_client *client)
{
    struct guest *guest = find_guest(context, client);
    if (guest != NULL)
        guest_destroy(guest);
}

static void cancel(void *context, struct weir_client *client)
{
    struct guest *guest = find_guest(context, client);
    if (guest != NULL)
        guest_cancel(guest);
}

static const struct weir_console_ops console_ops = {
    .attach = attach,
    .detach = detach,
    .cancel = cancel,
};

/* --- its life --------------------------------------------------------------------------------- */

struct weir_admin *weir_admin_create(struct weir_loop *loop, struct weir_router *router,
                                     const struct weir_admin_ops *ops, void *context)
{
    struct weir_admin *admin = weir_alloc(sizeof(*admin));
    admin->loop = loop;
    admin->router = router;
    admin->ops = ops;
    admin->context = context;
    weir_list_init(&admin->guests);
    weir_list_init(&admin->busy);
    weir_list_init(&admin->waiting);
    ev_timer_init(&admin->work, on_work, 0., 0.);
    admin->work.data = admin;
    ev_timer_init(&admin->look, on_look, LOOK_SECONDS, LOOK_SECONDS);
    admin->look.data = admin;
    weir_router_set_console(router, &console_ops, admin);
    return admin;
}

void weir_admin_destroy(struct weir_admin *admin)
{
    if (admin == NULL)
        return;
    weir_router_set_console(admin->router, NULL, NULL);
    struct weir_list *link;
    while ((link = weir_list_first(&admin->guests)) != NULL)
        guest_destroy(weir_container_of(link, struct guest, link));
    ev_timer_stop(admin->loop->ev, &admin->work);
    ev_timer_stop(admin->loop->ev, &admin->look);
    free(admin);
}
