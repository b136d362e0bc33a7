/* Databases and users for the operator: what the file names, and what clients made of "*". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "weir/view.h"

static struct named_cap *find_cap(struct named_cap *caps, const char *name)
{
    struct named_cap *cap;
    HASH_FIND_STR(caps, name, cap);
    return cap;
}

/* --- databases ------------------------------------------------------------------------- */

/* All hosts, a comma between them. */
static void append_hosts(struct weir_buffer *out, const struct weir_database *line)
{
    bool fits = true;
    for (size_t i = 0; line != NULL && i < line->host_count; i++) {
        const char *host = line->hosts[i].host;
        fits = fits && (i == 0 || weir_buffer_append(out, ",", 1)) &&
               weir_buffer_append(out, host, strlen(host));
    }
    if (!fits || !weir_buffer_append(out, "", 1))
        weir_buffer_clear(out);
}

static void show_database(const struct weir_router *router, const char *name,
                          const struct weir_database *line,
                          void (*each)(void *context, const struct weir_view_database *row),
                          void *context)
{
    const struct named_cap *cap = find_cap(router->database_caps, name);
    struct weir_pool_settings settings;
    struct weir_buffer hosts = {0};
    weir_conf_resolve(router->conf, line, "", &settings);
    append_hosts(&hosts, line);
    struct weir_view_database row = {
        .name = name,
        .line = line,
        .settings = &settings,
        .host = weir_buffer_length(&hosts) > 0 ? (const char *)weir_buffer_bytes(&hosts) : "",
        .port = line != NULL && line->host_count > 0 ? line->hosts[0].port : 0,
        .server_database = line != NULL && line->dbname != NULL ? line->dbname : name,
        .force_user = line != NULL ? line->user : NULL,
        .paused = router->paused,
        .disabled = router->disabled,
        .automatic = line != NULL && strcmp(line->name, name) != 0,
    };
    if (cap != NULL) {
        row.connections = cap->servers.used;
        row.clients = cap->clients;
        row.paused = cap->paused;
        row.disabled = cap->disabled;
    }
    each(context, &row);
    weir_buffer_clear(&hosts);
}

void weir_view_databases(const struct weir_router *router,
                         void (*each)(void *context, const struct weir_view_database *row),
                         void *context)
{
    const struct weir_conf *conf = router->conf;
    for (size_t i = 0; i < conf->database_count; i++)
        show_database(router, conf->databases[i].name, &conf->databases[i], each, context);
    const struct named_cap *cap, *next;
    HASH_ITER(hh, router->database_caps, cap, next) {
        const struct weir_database *line = weir_conf_database(conf, cap->name);
        bool own_line = line != NULL && strcmp(line->name, cap->name) == 0;
        if (!own_line && !weir_list_is_empty(&cap->destinations))
            show_database(router, cap->name, line, each, context);
    }
}

/* --- users ----------------------------------------------------------------------------- */

struct user_walk {
    const struct weir_router *router;
    void (*each)(void *context, const struct weir_view_user *row);
    void *context;
};

static void show_user(const struct user_walk *walk, const char *name)
{
    const struct weir_router *router = walk->router;
    const struct named_cap *cap = find_cap(router->user_caps, name);
    struct weir_pool_settings settings;
    weir_conf_resolve(router->conf, NULL, name, &settings);
    walk->each(walk->context, &(struct weir_view_user){
                                  .name = name,
                                  .settings = &settings,
                                  .overrides = weir_conf_has_user(router->conf, name),
                                  .connections = cap != NULL ? cap->servers.used : 0,
                                  .clients = cap != NULL ? cap->clients : 0,
                              });
}

static void show_user_of_file(void *context, const char *name)
{
    const struct user_walk *walk = context;
    if (!weir_conf_has_user(walk->router->conf, name))
        show_user(walk, name);
}

static bool is_in_file(const struct weir_router *router, const char *name)
{
    return router->users != NULL && weir_user_file_find(router->users, name) != NULL;
}

void weir_view_users(const struct weir_router *router,
                     void (*each)(void *context, const struct weir_view_user *row), void *context)
{
    struct user_walk walk = {.router = router, .each = each, .context = context};
    const char *name;
    for (size_t i = 0; (name = weir_conf_user_name(router->conf, i)) != NULL; i++)
        if (strcmp(name, "*") != 0)
            show_user(&walk, name);
    if (router->users != NULL)
        weir_user_file_walk(router->users, show_user_of_file, &walk);
    const struct named_cap *cap, *next;
    HASH_ITER(hh, router->user_caps, cap, next) {
        /* A user's cap lives on when its pools are gone. */
        if (cap->pools > 0 && !weir_conf_has_user(router->conf, cap->name) &&
            !is_in_file(router, cap->name))
            show_user(&walk, cap->name);
    }
}
