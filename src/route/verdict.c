/* Passwords that PAM or LDAP judge: the login waits for a worker's answer and can be given up at any
 * time. What was found right lets pgweir log in to the server as the client, if nothing better is known. */
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "router.h"

/* There while the login lasts. */
struct verdict {
    struct weir_verification base;
    struct client *client;
    struct weir_outside *outside;
    bool right;
    char *problem; /* for the log, or NULL */
};

static char *make_text(const struct verdict *verdict)
{
    const char *name = strcmp(verdict->outside->method, "pam") == 0 ? "PAM" : "LDAP";
    return weir_format("%s authentication failed for user \"%s\"", name,
                       verdict->client->base.login->user);
}

/* Nobody has found the password wrong. */
static void refuse(struct verdict *verdict, enum weir_reason reason)
{
    char *text = reason == WEIR_REASON_OUTSIDE_LOST ? NULL : make_text(verdict);
    weir_client_refuse_login(&verdict->client->base, reason, text, NULL, NULL);
    free(text);
}

/* A failed proof like any other: who has had many is answered later. */
static void fail(const struct verdict *verdict)
{
    struct weir_client_login *login = verdict->client->base.login;
    free(login->refusal_text);
    login->refusal = WEIR_REASON_OUTSIDE_REFUSED;
    login->refusal_text = make_text(verdict);
    weir_client_judged(&verdict->client->base, false);
}

static void done(struct weir_verification *base, enum weir_verdict result, const char *text)
{
    struct verdict *verdict = weir_container_of(base, struct verdict, base);
    verdict->problem = weir_strdup(text);
    switch (result) {
    case WEIR_VERDICT_YES:
        verdict->right = true;
        weir_log_debug(NULL, "verify", "%s", text);
        weir_client_judged(&verdict->client->base, true);
        break;
    case WEIR_VERDICT_NO:
        fail(verdict);
        break;
    case WEIR_VERDICT_TROUBLE:
        weir_log_warning(NULL, "verify", "%s", text);
        refuse(verdict, WEIR_REASON_OUTSIDE_FAILED);
        break;
    case WEIR_VERDICT_LOST:
        refuse(verdict, WEIR_REASON_OUTSIDE_LOST);
        break;
    }
}

void verdict_demand(struct client *client, struct weir_outside *outside)
{
    struct verdict *verdict = weir_alloc(sizeof(*verdict));
    verdict->base.done = done;
    verdict->client = client;
    verdict->outside = weir_outside_share(outside);
    client->verdict = verdict;
}

/* "" for who comes over a Unix socket. */
static void print_peer(const struct weir_client *client, char *text, size_t size)
{
    struct weir_address address;
    char host[NI_MAXHOST];
    text[0] = '\0';
    if (weir_client_address(client, &address) && address.any.sa_family != AF_UNIX &&
        getnameinfo(&address.any, address.length, host, sizeof(host), NULL, 0, NI_NUMERICHOST) == 0)
        snprintf(text, size, "%s", strncmp(host, "::ffff:", 7) == 0 ? host + 7 : host);
}

void verdict_judge(struct weir_client *base, const char *password)
{
    struct client *client = weir_container_of(base, struct client, base);
    struct verdict *verdict = client->verdict;
    char peer[NI_MAXHOST];
    /* To LDAP an empty password is an anonymous login, which succeeds. PostgreSQL takes none at all. */
    if (*password == '\0') {
        weir_client_refuse_login(base, WEIR_REASON_AUTH_FAILED, "empty password returned by client",
                                 NULL, NULL);
        return;
    }
    print_peer(base, peer, sizeof(peer));
    struct weir_question question = {
        .method = verdict->outside->method,
        .user = base->login->user,
        .password = password,
        .peer = peer,
        .option_count = verdict->outside->count,
    };
    memcpy(question.options, verdict->outside->options, sizeof(question.options));
    const char *problem = weir_verify_ask(client->router->verify, &question, &verdict->base);
    if (problem == NULL)
        return;
    verdict->problem = weir_strdup(problem);
    refuse(verdict, WEIR_REASON_OUTSIDE_LOST);
}

bool verdict_is_right(const struct client *client)
{
    return client->verdict != NULL && client->verdict->right;
}

const char *verdict_problem(const struct client *client)
{
    return client->verdict != NULL ? client->verdict->problem : NULL;
}

void verdict_end(struct client *client)
{
    struct verdict *verdict = client->verdict;
    if (verdict == NULL)
        return;
    client->verdict = NULL;
    weir_verification_cancel(&verdict->base);
    weir_outside_release(verdict->outside);
    free(verdict->problem);
    free(verdict);
}

void verdict_follow(struct weir_router *router)
{
    const struct weir_conf *conf = router->conf;
    bool needed = router->rules != NULL && weir_hba_asks_outside(router->rules);
    const struct weir_verify_settings settings = {
        .program = weir_verify_program(conf->auth_worker_program),
        .workers = needed ? conf->auth_workers : 0,
        .limit =
            conf->auth_worker_timeout > 0 ? conf->auth_worker_timeout : conf->client_login_timeout,
    };
    weir_verify_follow(router->verify, &settings);
}

void verdict_report(const struct weir_router *router)
{
    struct weir_verify_figures figures;
    weir_verify_count(router->verify, &figures);
    if (figures.started == 0)
        return;
    weir_log_info(NULL, "verify",
                  "verify_asked=%llu verify_lost=%llu verify_waiting=%d verify_workers=%d "
                  "verify_busy=%d verify_started=%llu verify_killed=%llu",
                  (unsigned long long)figures.asked, (unsigned long long)figures.lost,
                  figures.waiting, figures.workers, figures.busy,
                  (unsigned long long)figures.started, (unsigned long long)figures.killed);
}
