/* Users that auth_file does not know: their secrets are asked of a database (auth_query) while the
 * login waits. */
#include <stdlib.h>

#include "login.h"
#include "router.h"

/* Who waits for an answer; there while the login lasts. */
struct lookup {
    struct weir_lookup base;
    struct client *client;
    struct weir_admission admission;
    bool cached;    /* the answer may be old */
    bool rechecked; /* it was asked for again */
    bool found;
    char *problem;
};

static bool is_needed(const struct weir_admission *admission)
{
    return admission->secret == NULL &&
           (admission->method == WEIR_AUTH_PLAIN || admission->method == WEIR_AUTH_MD5 ||
            admission->method == WEIR_AUTH_SCRAM);
}

static bool ask(struct lookup *lookup, bool fresh)
{
    struct client *client = lookup->client;
    struct weir_router *router = client->router;
    const struct weir_client_login *login = client->base.login;
    struct weir_lookup_target target;
    if (!weir_lookup_target_make(router->conf, router->users,
                                 client->console != NULL ? NULL : login->database, &target))
        return false;
    bool asks = target.query[0] != '\0';
    if (asks)
        weir_control_ask(router->control, &target, login->user, fresh, &lookup->base);
    weir_lookup_target_clear(&target);
    return asks;
}

static void note(struct lookup *lookup, const struct weir_lookup_answer *answer)
{
    lookup->cached = answer->cached;
    lookup->found = answer->outcome == WEIR_LOOKUP_FOUND;
    if (lookup->found)
        lookup->client->router->usual_secret = weir_secret_kind_of(answer->secret);
    free(lookup->problem);
    lookup->problem = weir_strdup(answer->problem);
}

static void done(struct weir_lookup *base, const struct weir_lookup_answer *answer)
{
    struct lookup *lookup = weir_container_of(base, struct lookup, base);
    struct client *client = lookup->client;
    note(lookup, answer);
    /* What was asked for again at a wrong password leaves the password wrong when it fails. */
    if (lookup->rechecked) {
        weir_client_recheck(&client->base, answer->secret);
        return;
    }
    if (answer->outcome == WEIR_LOOKUP_FAILED) {
        admission_refuse(client, WEIR_REASON_LOOKUP_FAILED, NULL, NULL);
        return;
    }
    struct weir_admission admission = lookup->admission;
    admission.secret = answer->secret;
    if (client->router->usual_secret != WEIR_SECRET_NONE)
        admission.usual = client->router->usual_secret;
    weir_client_admitted(&client->base, &admission);
}

void lookup_demand(struct client *client, struct weir_admission *admission)
{
    if (!is_needed(admission))
        return;
    struct lookup *lookup = weir_alloc(sizeof(*lookup));
    lookup->base.done = done;
    lookup->client = client;
    lookup->admission = *admission;
    if (!ask(lookup, false)) {
        free(lookup);
        return;
    }
    client->lookup = lookup;
    admission->later = true;
}

bool lookup_again(struct weir_client *base)
{
    struct client *client = weir_container_of(base, struct client, base);
    struct lookup *lookup = client->lookup;
    if (lookup == NULL || !lookup->cached || lookup->rechecked)
        return false;
    lookup->rechecked = true;
    return ask(lookup, true);
}

bool lookup_has_found(const struct client *client)
{
    return client->lookup != NULL && client->lookup->found;
}

const char *lookup_problem(const struct client *client)
{
    const struct lookup *lookup = client->lookup;
    if (lookup == NULL || lookup->found)
        return NULL;
    return lookup->problem != NULL ? lookup->problem : "not let in by auth_query";
}

void lookup_end(struct client *client)
{
    verdict_end(client);
    if (client->lookup == NULL)
        return;
    weir_lookup_cancel(&client->lookup->base);
    free(client->lookup->problem);
    free(client->lookup);
    client->lookup = NULL;
}
