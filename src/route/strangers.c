/* Who comes in before anything is known of him: how often per address, and how many at a time.
 *
 * Connections that have proven nothing have places of their own: those of max_client_conn that are not
 * taken, and a few more. So they keep nobody from a place who can prove that it is his, and the console
 * is within reach whatever else is taken. When theirs are taken, who has said nothing for longest goes
 * for a newcomer. */
#include <sys/socket.h>
#include <unistd.h>

#include "login.h"
#include "router.h"

/* Within this time an honest login is done, however many come at once: nobody is sent away for
 * another one before. */
#define SAFE_TIME (1 * WEIR_SEC)

void strangers_configure(struct weir_router *router)
{
    const struct weir_conf *conf = router->conf;
    weir_usec most = conf->auth_failure_delay_max;
    /* Who waits twice, to begin and for the answer, is still told what was wrong. */
    if (conf->client_login_timeout > 0 && most > conf->client_login_timeout / 3)
        most = conf->client_login_timeout / 3;
    const struct weir_strangers_limits limits = {
        .rate = conf->connection_rate,
        .burst = conf->connection_rate_burst,
        .delay = conf->auth_failure_delay,
        .delay_most = most,
    };
    weir_strangers_limit(router->strangers, &limits);
}

void strangers_take_place(struct client *client, enum place place)
{
    client->router->places[client->place]--;
    client->place = place;
    client->router->places[place]++;
}

bool strangers_find(const struct client *client, struct weir_stranger *stranger)
{
    struct weir_address address;
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (!weir_client_address(&client->base, &address))
        return false;
    if (address.any.sa_family != AF_UNIX)
        weir_stranger_from_address(stranger, &address.any);
    else if (getsockopt(client->base.stream.io.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
        weir_stranger_from_user(stranger, peer.uid);
    else
        return false;
    return true;
}

/* --- refusing at the door -------------------------------------------------------------- */

/* Before anything was read. What the client has sent by now is taken from the socket, else the kernel
 * would answer it with a reset that may overtake the message. */
static void send_away(int fd, enum weir_reason reason)
{
    const struct weir_reason_row *row = weir_reason_row(reason);
    char unread[1024];
    struct weir_buffer out = {0};
    struct weir_writer writer = weir_writer_to(&out);
    weir_write_error(&writer, "FATAL", row->sqlstate, row->text, NULL, NULL);
    if (!writer.failed)
        (void)send(fd, weir_buffer_bytes(&out), weir_buffer_length(&out),
                   MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
    (void)recv(fd, unread, sizeof(unread), MSG_DONTWAIT);
    weir_buffer_clear(&out);
    close(fd);
}

static void tell(struct weir_router *router, const struct weir_address *peer,
                 enum weir_reason reason, uint64_t refused)
{
    const struct weir_reason_row *row = weir_reason_row(reason);
    char text[128];
    weir_address_print(peer, text, sizeof(text));
    struct weir_log_who who = {.kind = "client", .peer = text};
    char *detail = weir_format("%s refused=%llu", text, (unsigned long long)refused);
    events_of_stranger(router, "refuse", reason, detail);
    free(detail);
    if (router->conf->log_disconnections)
        weir_log_warning(&who, "refused",
                         "connection refused: reason=%s closing because: %s refused=%llu",
                         row->name, row->text, (unsigned long long)refused);
}

static bool is_too_often(struct weir_router *router, int fd, const struct weir_address *peer)
{
    struct weir_stranger stranger;
    uint64_t refused = 0;
    if (peer->any.sa_family == AF_UNIX)
        return false;
    weir_stranger_from_address(&stranger, &peer->any);
    enum weir_stranger_verdict verdict =
        weir_strangers_connect(router->strangers, &stranger, router->loop->now, &refused);
    if (verdict == WEIR_STRANGER_WELCOME)
        return false;
    router->counters.reasons[WEIR_REASON_CONNECTION_RATE]++;
    if (verdict == WEIR_STRANGER_REFUSED_AND_TELL)
        tell(router, peer, WEIR_REASON_CONNECTION_RATE, refused);
    send_away(fd, WEIR_REASON_CONNECTION_RATE);
    return true;
}

/* --- places ---------------------------------------------------------------------------- */

static bool is_full(const struct weir_router *router)
{
    int free_places = router->conf->max_client_conn - router->places[PLACE_CLIENT];
    int most = (free_places > 0 ? free_places : 0) + WEIR_ROUTER_STRANGERS;
    return router->places[PLACE_STRANGER] >= most;
}

/* False: none of them is here long enough. They are in the order of their arrival. */
static bool send_oldest_away(struct weir_router *router)
{
    weir_list_for_safe(link, &router->logging_in) {
        struct client *client = weir_container_of(link, struct client, base.link);
        if (client->place != PLACE_STRANGER)
            continue;
        if (router->loop->now - client->base.login->begun_at < SAFE_TIME)
            return false;
        admission_refuse(client, WEIR_REASON_TOO_MANY_LOGINS, NULL, NULL);
        return true;
    }
    return false;
}

bool strangers_let_in(struct weir_router *router, int fd, const struct weir_address *peer)
{
    router->counters.client_connections++;
    if (is_too_often(router, fd, peer))
        return false;
    if (!is_full(router) || send_oldest_away(router))
        return true;
    router->counters.reasons[WEIR_REASON_TOO_MANY_LOGINS]++;
    if (router->loop->now - router->full_told_at >= WEIR_REFUSAL_TOLD_EVERY) {
        router->full_told_at = router->loop->now;
        tell(router, peer, WEIR_REASON_TOO_MANY_LOGINS,
             router->counters.reasons[WEIR_REASON_TOO_MANY_LOGINS]);
    }
    send_away(fd, WEIR_REASON_TOO_MANY_LOGINS);
    return false;
}
