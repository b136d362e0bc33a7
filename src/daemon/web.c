/* Metrics and the status page: where they are served, from the start and after each reload. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "weir/http.h"
#include "weir/log.h"
#include "weir/memory.h"

bool web_check(const struct weir_conf *conf, char **problem)
{
    char *text = NULL;
    if (conf->http_listen[0] == '\0' || weir_http_check(conf->http_listen, &text))
        return true;
    *problem = weir_format("http_listen: %s", text);
    free(text);
    return false;
}

bool web_follows(const struct web *web, const struct weir_conf *conf)
{
    return strcmp(web->listen, conf->http_listen) == 0;
}

static void note_listening(const struct web *web)
{
    if (web->http != NULL)
        weir_log_info(NULL, "http", "metrics and status page at %s", web->listen);
}

bool web_start(struct web *web, struct weir_loop *loop, const struct weir_router *router,
               const struct weir_conf *conf)
{
    web->loop = loop;
    web->router = router;
    web->listen = weir_strdup(conf->http_listen);
    if (conf->http_listen[0] == '\0')
        return true;
    char *problem = NULL;
    web->http = weir_http_create(loop, router, conf->http_listen, &problem);
    note_listening(web);
    if (web->http != NULL)
        return true;
    /* Nobody asked for it, so nobody may be kept from pooling by it. */
    const char *where = weir_conf_where(conf, "http_listen");
    if (where != NULL)
        fprintf(stderr, "%s: http_listen: %s\n", where, problem);
    else
        weir_log_warning(NULL, "http", "no metrics and no status page: %s (set http_listen)",
                         problem);
    free(problem);
    return where == NULL;
}

static bool move(struct web *web, const char *listen, char **problem)
{
    if (listen[0] == '\0') {
        weir_http_destroy(web->http);
        web->http = NULL;
        return true;
    }
    if (web->http != NULL)
        return weir_http_listen(web->http, listen, problem);
    web->http = weir_http_create(web->loop, web->router, listen, problem);
    return web->http != NULL;
}

void web_follow(struct web *web, const struct weir_conf *conf)
{
    /* What could not be listened to before is tried again. */
    bool lacking = web->http == NULL && web->listen[0] != '\0';
    if (strcmp(conf->http_listen, web->listen) == 0 && !lacking)
        return;
    char *problem = NULL;
    if (!move(web, conf->http_listen, &problem)) {
        const char *where = weir_conf_where(conf, "http_listen");
        weir_log_error(NULL, "http", "%s: http_listen: %s; %s stays",
                       where != NULL ? where : "default", problem,
                       web->http != NULL ? web->listen : "off");
        free(problem);
        return;
    }
    free(web->listen);
    web->listen = weir_strdup(conf->http_listen);
    if (web->http == NULL)
        weir_log_info(NULL, "http", "metrics and status page are off");
    note_listening(web);
}

void web_stop(struct web *web)
{
    weir_http_destroy(web->http);
    web->http = NULL;
    free(web->listen);
    web->listen = NULL;
}
