/* Names to addresses and back: c-ares asks, libev waits, answers are kept for a moment and shared. */
#include "weir/resolve.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "socket.h"
#include "weir/memory.h"

/* Long enough for a burst of dials to ask once, short enough that a fail-over by DNS is followed.
 */
#define CACHE_TIME (15 * WEIR_SEC)
/* Names come from the configuration and are few, addresses are those of clients that just log in. */
#define MAX_ENTRIES    256
#define MAX_ADDRESSES  64
#define TRY_TIMEOUT_MS 2000
#define TRIES          2
#define RESOLVER_FILE  "/etc/resolv.conf"

/* What a question is about. */
struct subject {
    bool reverse; /* `text` is an address, and its name is wanted */
    const char *text;
};

/* One subject: being asked for (`pending`), or answered and good until `expires`. Failures are handed
 * to those who wait and not kept. */
struct weir_resolver_entry {
    struct weir_list link;
    struct weir_list waiters; /* weir_resolve_query.link */
    struct weir_resolver *resolver;
    char *text; /* of its subject */
    bool reverse;
    bool pending;
    unsigned
        users; /* queries that point here, and callbacks which run; not freed before they end */
    weir_usec expires;
    struct weir_address *addresses;
    size_t count;
    char *found; /* the name of an address */
    char *problem;
};

struct weir_resolver {
    struct weir_loop *loop;
    ares_channel channel;
    bool has_channel;
    bool ending;
    struct timespec configured; /* age of RESOLVER_FILE when the channel was made */
    char *servers;              /* instead of those in RESOLVER_FILE, or NULL */
    ev_timer timer;
    struct weir_list sockets; /* struct resolver_socket.link */
    struct weir_list entries;
    size_t entry_count;
    size_t pending_count;
};

struct resolver_socket {
    struct weir_list link;
    struct weir_resolver *resolver;
    ev_io io;
};

/* --- c-ares in the loop ---------------------------------------------------------------- */

static void arm_timer(struct weir_resolver *resolver)
{
    struct timeval wait;
    if (ares_timeout(resolver->channel, NULL, &wait) == NULL) {
        ev_timer_stop(resolver->loop->ev, &resolver->timer);
        return;
    }
    double seconds = (double)wait.tv_sec + (double)wait.tv_usec / 1e6;
    /* Zero would mean "never" to libev. */
    resolver->timer.repeat = seconds < 0.001 ? 0.001 : seconds;
    ev_timer_again(resolver->loop->ev, &resolver->timer);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int revents)
{
    struct weir_resolver *resolver = weir_container_of(timer, struct weir_resolver, timer);
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timer(resolver);
}

static void on_socket(struct ev_loop *ev, ev_io *watcher, int revents)
{
    /* The watcher may be freed while c-ares works: nothing of it is used after. */
    struct resolver_socket *watched = weir_container_of(watcher, struct resolver_socket, io);
    struct weir_resolver *resolver = watched->resolver;
    int fd = watcher->fd;
    ares_process_fd(resolver->channel, (revents & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
                    (revents & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
    arm_timer(resolver);
}

static struct resolver_socket *find_socket(struct weir_resolver *resolver, int fd)
{
    weir_list_for(link, &resolver->sockets) {
        struct resolver_socket *watched = weir_container_of(link, struct resolver_socket, link);
        if (watched->io.fd == fd)
            return watched;
    }
    return NULL;
}

/* c-ares says what it wants of a socket; nothing means that it is about to close it. */
static void watch_socket(void *context, ares_socket_t fd, int readable, int writable)
{
    struct weir_resolver *resolver = context;
    struct resolver_socket *watched = find_socket(resolver, fd);
    int events = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);
    if (watched == NULL) {
        if (events == 0)
            return;
        watched = weir_alloc(sizeof *watched);
        watched->resolver = resolver;
        ev_io_init(&watched->io, on_socket, fd, events);
        weir_list_push_back(&resolver->sockets, &watched->link);
    }
    ev_io_stop(resolver->loop->ev, &watched->io);
    if (events != 0) {
        ev_io_set(&watched->io, fd, events);
        ev_io_start(resolver->loop->ev, &watched->io);
        return;
    }
    weir_list_remove(&watched->link);
    free(watched);
}

static void close_channel(struct weir_resolver *resolver)
{
    if (!resolver->has_channel)
        return;
    resolver->has_channel = false;
    ares_destroy(resolver->channel);
    ev_timer_stop(resolver->loop->ev, &resolver->timer);
}

/* c-ares reads its configuration once. When that has changed (containers, VPN, DHCP) a new channel
 * is made, at a moment when the old one is idle. */
static bool ensure_channel(struct weir_resolver *resolver)
{
    struct stat status = {0};
    (void)stat(RESOLVER_FILE, &status);
    bool same = status.st_mtim.tv_sec == resolver->configured.tv_sec &&
                status.st_mtim.tv_nsec == resolver->configured.tv_nsec;
    if (resolver->has_channel && (same || resolver->pending_count > 0))
        return true;
    close_channel(resolver);
    resolver->configured = status.st_mtim;
    char lookups[] = "fb"; /* /etc/hosts, then DNS */
    struct ares_options options = {
        .timeout = TRY_TIMEOUT_MS,
        .tries = TRIES,
        .lookups = lookups,
        .sock_state_cb = watch_socket,
        .sock_state_cb_data = resolver,
    };
    int status_code = ares_init_options(&resolver->channel, &options,
                                        ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                                            ARES_OPT_SOCK_STATE_CB);
    resolver->has_channel = status_code == ARES_SUCCESS;
    if (resolver->has_channel && resolver->servers != NULL &&
        ares_set_servers_ports_csv(resolver->channel, resolver->servers) != ARES_SUCCESS)
        close_channel(resolver);
    return resolver->has_channel;
}

/* --- entries --------------------------------------------------------------------------- */

static void free_entry(struct weir_resolver_entry *entry)
{
    entry->resolver->entry_count--;
    weir_list_remove(&entry->link);
    free(entry->text);
    free(entry->found);
    free(entry->addresses);
    free(entry->problem);
    free(entry);
}

static bool is_answered(const struct weir_resolver_entry *entry)
{
    return entry->count > 0 || entry->found != NULL;
}

static void release_entry(struct weir_resolver_entry *entry)
{
    weir_require(entry->users > 0);
    entry->users--;
    if (entry->users == 0 && !entry->pending && !is_answered(entry))
        free_entry(entry);
}

/* Drops what is too old, and the oldest when there are too many. */
static void trim_entries(struct weir_resolver *resolver)
{
    weir_list_for_safe(link, &resolver->entries) {
        struct weir_resolver_entry *entry =
            weir_container_of(link, struct weir_resolver_entry, link);
        bool old = entry->expires <= resolver->loop->now || resolver->entry_count >= MAX_ENTRIES;
        if (old && entry->users == 0 && !entry->pending)
            free_entry(entry);
    }
}

static struct weir_resolver_entry *find_entry(struct weir_resolver *resolver,
                                              const struct subject *subject)
{
    weir_list_for(link, &resolver->entries) {
        struct weir_resolver_entry *entry =
            weir_container_of(link, struct weir_resolver_entry, link);
        bool usable = entry->pending || entry->expires > resolver->loop->now;
        if (usable && entry->reverse == subject->reverse && strcmp(entry->text, subject->text) == 0)
            return entry;
    }
    return NULL;
}

static void take_addresses(struct weir_resolver_entry *entry, const struct ares_addrinfo *answer)
{
    entry->addresses = weir_alloc(MAX_ADDRESSES * sizeof *entry->addresses);
    for (const struct ares_addrinfo_node *node = answer->nodes; node != NULL;
         node = node->ai_next) {
        if (entry->count == MAX_ADDRESSES)
            break;
        if (node->ai_family != AF_INET && node->ai_family != AF_INET6)
            continue;
        struct weir_address address = {.length = (socklen_t)node->ai_addrlen};
        memcpy(&address.storage, node->ai_addr, (size_t)node->ai_addrlen);
        bool seen = false;
        for (size_t i = 0; i < entry->count && !seen; i++)
            seen = weir_address_is_equal(&entry->addresses[i], &address);
        if (!seen)
            entry->addresses[entry->count++] = address;
    }
}

/* Called by c-ares, perhaps from inside the call that asked: the waiters hear of it by task. */
static void finish(struct weir_resolver_entry *entry, int status)
{
    struct weir_resolver *resolver = entry->resolver;
    entry->pending = false;
    resolver->pending_count--;
    if (resolver->ending)
        return;
    entry->expires = resolver->loop->now;
    if (is_answered(entry))
        entry->expires += CACHE_TIME;
    else
        entry->problem =
            weir_format("cannot resolve the %s: %s", entry->reverse ? "address" : "name",
                        ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status));
    weir_list_for(link, &entry->waiters) {
        struct weir_resolve_query *query = weir_container_of(link, struct weir_resolve_query, link);
        weir_loop_defer(resolver->loop, &query->task);
    }
    if (entry->users == 0 && !is_answered(entry))
        free_entry(entry);
}

static void on_addresses(void *context, int status, int timeouts, struct ares_addrinfo *answer)
{
    struct weir_resolver_entry *entry = context;
    if (status == ARES_SUCCESS && answer != NULL)
        take_addresses(entry, answer);
    if (answer != NULL)
        ares_freeaddrinfo(answer);
    finish(entry, status);
}

static void on_name(void *context, int status, int timeouts, struct hostent *answer)
{
    struct weir_resolver_entry *entry = context;
    if (status == ARES_SUCCESS && answer != NULL && answer->h_name != NULL)
        entry->found = weir_strdup(answer->h_name);
    finish(entry, status);
}

static void ask_name(struct weir_resolver *resolver, struct weir_resolver_entry *entry)
{
    struct weir_address address;
    weir_require(weir_resolve_numeric(entry->text, &address));
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    memcpy(&four, &address.storage, sizeof(four));
    memcpy(&six, &address.storage, sizeof(six));
    if (address.any.sa_family == AF_INET)
        ares_gethostbyaddr(resolver->channel, &four.sin_addr, sizeof(four.sin_addr), AF_INET,
                           on_name, entry);
    else
        ares_gethostbyaddr(resolver->channel, &six.sin6_addr, sizeof(six.sin6_addr), AF_INET6,
                           on_name, entry);
}

static void ask_addresses(struct weir_resolver *resolver, struct weir_resolver_entry *entry)
{
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(resolver->channel, entry->text, NULL, &hints, on_addresses, entry);
}

static struct weir_resolver_entry *ask(struct weir_resolver *resolver,
                                       const struct subject *subject)
{
    trim_entries(resolver);
    struct weir_resolver_entry *entry = weir_alloc(sizeof *entry);
    weir_list_init(&entry->waiters);
    entry->resolver = resolver;
    entry->text = weir_strdup(subject->text);
    entry->reverse = subject->reverse;
    weir_list_push_back(&resolver->entries, &entry->link);
    resolver->entry_count++;
    entry->users = 1; /* kept while c-ares may answer at once */
    if (ensure_channel(resolver)) {
        entry->pending = true;
        resolver->pending_count++;
        if (entry->reverse)
            ask_name(resolver, entry);
        else
            ask_addresses(resolver, entry);
        arm_timer(resolver);
    } else {
        entry->problem = weir_strdup("cannot resolve anything: the resolver does not start");
    }
    return entry;
}

/* --- queries --------------------------------------------------------------------------- */

static void deliver(struct weir_task *task)
{
    struct weir_resolve_query *query = weir_container_of(task, struct weir_resolve_query, task);
    struct weir_resolver_entry *entry = query->entry;
    weir_list_remove(&query->link);
    query->entry = NULL;
    struct weir_resolve_result result = {
        .addresses = entry->addresses,
        .count = entry->count,
        .name = entry->found,
        .problem = entry->problem,
    };
    query->done(query, &result);
    release_entry(entry);
}

static struct weir_resolver *get_resolver(struct weir_loop *loop)
{
    if (loop->resolver != NULL)
        return loop->resolver;
    struct weir_resolver *resolver = weir_alloc(sizeof *resolver);
    resolver->loop = loop;
    weir_list_init(&resolver->sockets);
    weir_list_init(&resolver->entries);
    ev_init(&resolver->timer, on_timer);
    loop->resolver = resolver;
    return resolver;
}

void weir_resolver_use_servers(struct weir_loop *loop, const char *servers)
{
    struct weir_resolver *resolver = get_resolver(loop);
    weir_require(resolver->pending_count == 0);
    close_channel(resolver);
    free(resolver->servers);
    resolver->servers = weir_strdup(servers);
}

static void start(struct weir_loop *loop, const struct subject *subject,
                  struct weir_resolve_query *query)
{
    weir_require(query->entry == NULL);
    struct weir_resolver *resolver = get_resolver(loop);
    struct weir_resolver_entry *entry = find_entry(resolver, subject);
    if (entry == NULL)
        entry = ask(resolver, subject);
    else
        entry->users++;
    query->entry = entry;
    query->task.run = deliver;
    weir_list_push_back(&entry->waiters, &query->link);
    if (!entry->pending)
        weir_loop_defer(loop, &query->task);
}

void weir_resolve_start(struct weir_loop *loop, const char *name, struct weir_resolve_query *query)
{
    start(loop, &(struct subject){.text = name}, query);
}

/* Without port and scope; "" for what is no address of the internet. */
static void print_address(const struct weir_address *address, char *text, socklen_t size)
{
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    memcpy(&four, &address->storage, sizeof(four));
    memcpy(&six, &address->storage, sizeof(six));
    text[0] = '\0';
    if (address->any.sa_family == AF_INET)
        inet_ntop(AF_INET, &four.sin_addr, text, size);
    else if (address->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six.sin6_addr))
        inet_ntop(AF_INET, &six.sin6_addr.s6_addr[12], text, size);
    else if (address->any.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &six.sin6_addr, text, size);
}

void weir_resolve_start_address(struct weir_loop *loop, const struct weir_address *address,
                                struct weir_resolve_query *query)
{
    char text[INET6_ADDRSTRLEN];
    print_address(address, text, sizeof text);
    weir_require(text[0] != '\0');
    start(loop, &(struct subject){.reverse = true, .text = text}, query);
}

void weir_resolve_cancel(struct weir_resolve_query *query)
{
    struct weir_resolver_entry *entry = query->entry;
    if (entry == NULL)
        return;
    weir_task_cancel(&query->task);
    weir_list_remove(&query->link);
    query->entry = NULL;
    release_entry(entry);
}

bool weir_resolve_numeric(const char *text, struct weir_address *address)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (getaddrinfo(text, NULL, &hints, &found) != 0)
        return false;
    memset(address, 0, sizeof *address);
    memcpy(&address->storage, found->ai_addr, found->ai_addrlen);
    address->length = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

void weir_resolver_destroy(struct weir_resolver *resolver)
{
    if (resolver == NULL)
        return;
    resolver->ending = true;
    close_channel(resolver);
    weir_list_for_safe(link, &resolver->entries) {
        struct weir_resolver_entry *entry =
            weir_container_of(link, struct weir_resolver_entry, link);
        struct weir_list *waiter;
        while ((waiter = weir_list_pop(&entry->waiters)) != NULL) {
            struct weir_resolve_query *query =
                weir_container_of(waiter, struct weir_resolve_query, link);
            weir_task_cancel(&query->task);
            query->entry = NULL;
        }
        free_entry(entry);
    }
    free(resolver->servers);
    free(resolver);
}
