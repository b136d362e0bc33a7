#include "events.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "router.h"
#include "view.h"
#include "weir/view.h"

/* PostgreSQL's names are shorter than this. */
#define NAME_ROOM   64
#define DETAIL_ROOM 128

struct event {
    int64_t at;
    const char *event;
    const char *reason;
    uint64_t client_id;
    uint64_t server_id;
    char database[NAME_ROOM];
    char user[NAME_ROOM];
    char detail[DETAIL_ROOM];
};

struct events {
    uint64_t count; /* since start: the newest is number `count` */
    struct event ring[EVENTS_KEPT];
};

struct events *events_create(void)
{
    return weir_alloc(sizeof(struct events));
}

void events_destroy(struct events *events)
{
    free(events);
}

/* As much as there is room for, without half a character at the end. */
static void put(char *room, size_t size, const char *text)
{
    size_t length = text == NULL ? 0 : strnlen(text, size);
    if (length == size) {
        length = size - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--;
    }
    if (length > 0)
        memcpy(room, text, length);
    room[length] = '\0';
}

static struct event *add(struct weir_router *router, const char *what, const char *detail)
{
    struct events *events = router->events;
    struct event *event = &events->ring[events->count++ % EVENTS_KEPT];
    event->at = view_wall_now();
    event->event = what;
    event->reason = "";
    event->client_id = 0;
    event->server_id = 0;
    event->database[0] = '\0';
    event->user[0] = '\0';
    put(event->detail, sizeof(event->detail), detail);
    return event;
}

static void name_pool(struct event *event, const struct destination *destination)
{
    if (destination == NULL)
        return;
    put(event->database, sizeof(event->database), destination->database);
    put(event->user, sizeof(event->user), destination->user);
}

static void name_reason(struct event *event, enum weir_reason reason)
{
    if (reason < WEIR_REASON_COUNT)
        event->reason = weir_reason_row(reason)->name;
}

void events_of_router(struct weir_router *router, const char *event, const char *database,
                      const char *detail)
{
    struct event *added = add(router, event, detail);
    put(added->database, sizeof(added->database), database);
}

void events_of_stranger(struct weir_router *router, const char *event, enum weir_reason reason,
                        const char *detail)
{
    name_reason(add(router, event, detail), reason);
}

void events_of_pool(const struct destination *destination, const char *event, const char *detail)
{
    name_pool(add(destination->router, event, detail), destination);
}

void events_of_server(const struct server *server, const char *event, enum weir_reason reason,
                      const char *detail)
{
    struct event *added = add(server->router, event, detail);
    name_pool(added, server->destination);
    name_reason(added, reason);
    added->server_id = server->base.id;
    added->client_id = server->client != NULL ? server->client->base.id : 0;
}

void events_of_client(const struct client *client, const char *event, enum weir_reason reason,
                      const char *detail)
{
    const struct weir_client_login *login = client->base.login;
    struct event *added = add(client->router, event, detail);
    name_pool(added, client->destination);
    if (client->destination == NULL && login != NULL) {
        put(added->database, sizeof(added->database), login->database);
        put(added->user, sizeof(added->user), login->user);
    }
    name_reason(added, reason);
    added->client_id = client->base.id;
    added->server_id = client->server != NULL ? client->server->base.id : 0;
}

void weir_view_events(const struct weir_router *router,
                      void (*each)(void *context, const struct weir_view_event *row), void *context)
{
    const struct events *events = router->events;
    uint64_t kept = events->count < EVENTS_KEPT ? events->count : EVENTS_KEPT;
    for (uint64_t i = 0; i < kept; i++) {
        uint64_t number = events->count - i;
        const struct event *event = &events->ring[(number - 1) % EVENTS_KEPT];
        each(context, &(struct weir_view_event){
                          .at = event->at,
                          .number = number,
                          .event = event->event,
                          .database = event->database,
                          .user = event->user,
                          .client_id = event->client_id,
                          .server_id = event->server_id,
                          .reason = event->reason,
                          .detail = event->detail,
                      });
    }
}
