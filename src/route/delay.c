/* Logins that are made to wait because logins of the same user from the same address, or very many
 * from that address, have failed: the next one to begin, a failed one for its answer. Who waits holds a
 * descriptor and no place among the clients; the tick looks after them. */
#include <stdlib.h>

#include "login.h"
#include "router.h"

/* So many may wait for one user at one address, or all of them could try at the same instant. */
#define WAITING_MOST 10

enum delayed { DELAYED_BEGINNING, DELAYED_ANSWER };

struct delay {
    struct weir_list link; /* router->delays */
    struct client *client;
    enum delayed what;
    uint64_t key; /* of the user at the address */
    weir_usec until;
};

static bool are_too_many(const struct weir_router *router, uint64_t key)
{
    int waiting = 0;
    weir_list_for(link, &router->delays)
        waiting += weir_container_of(link, struct delay, link)->key == key;
    return waiting >= WAITING_MOST;
}

static void wait_until(struct client *client, enum delayed what, uint64_t key, weir_usec until)
{
    struct weir_router *router = client->router;
    weir_require(client->delay == NULL);
    struct delay *delay = weir_alloc(sizeof(*delay));
    *delay = (struct delay){.client = client, .what = what, .key = key, .until = until};
    weir_list_push_back(&router->delays, &delay->link);
    client->delay = delay;
    router->counters.login_delays++;
}

void delay_end(struct client *client)
{
    if (client->delay == NULL)
        return;
    weir_list_remove(&client->delay->link);
    free(client->delay);
    client->delay = NULL;
}

enum delay_verdict delay_demand(struct client *client, struct weir_admission *admission)
{
    struct weir_router *router = client->router;
    struct weir_client_login *login = client->base.login;
    struct weir_stranger stranger;
    if (router->conf->auth_failure_delay == 0 || !strangers_find(client, &stranger))
        return DELAY_NONE;
    weir_usec until = weir_strangers_wait(router->strangers, &stranger, login->user);
    if (until <= router->loop->now)
        return DELAY_NONE;
    uint64_t key = weir_strangers_key(router->strangers, &stranger, login->user);
    if (are_too_many(router, key)) {
        login->refusal = WEIR_REASON_TOO_MANY_FAILURES;
        login->refusal_text = NULL;
        return DELAY_REFUSED;
    }
    wait_until(client, DELAYED_BEGINNING, key, until);
    admission->delayed = true;
    return DELAY_WAITS;
}

bool delay_failed(struct weir_client *base)
{
    struct client *client = weir_container_of(base, struct client, base);
    struct weir_router *router = client->router;
    struct weir_stranger stranger;
    if (router->conf->auth_failure_delay == 0 || !strangers_find(client, &stranger))
        return false;
    const char *user = base->login->user;
    weir_usec until = weir_strangers_failed(router->strangers, &stranger, user, router->loop->now);
    if (until <= router->loop->now)
        return false;
    wait_until(client, DELAYED_ANSWER, weir_strangers_key(router->strangers, &stranger, user),
               until);
    return true;
}

/* Files may have been read anew while it waited: what it must prove is asked for again. */
static void begin(struct client *client)
{
    struct weir_admission admission = {.method = WEIR_AUTH_REJECT};
    struct weir_client_login *login = client->base.login;
    free(login->rule);
    login->rule = NULL;
    if (access_demand_now(client, &admission))
        weir_client_admitted(&client->base, &admission);
    else
        weir_client_refuse_login(&client->base, login->refusal, login->refusal_text, NULL, NULL);
}

void delay_tick(struct weir_router *router)
{
    weir_list_for_safe(link, &router->delays) {
        const struct delay *delay = weir_container_of(link, struct delay, link);
        struct client *client = delay->client;
        enum delayed what = delay->what;
        if (router->loop->now < delay->until)
            continue;
        delay_end(client);
        if (what == DELAYED_ANSWER)
            weir_client_answer_failure(&client->base);
        else
            begin(client);
    }
}
