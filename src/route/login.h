/* Private to the route room: from the connection to the welcome.
 *
 *   strangers.c  who may connect, places       admission.c  databases, users, the welcome
 *   access.c     rules of who may come in      lookup.c     users from a database
 *   verdict.c    passwords judged by others    delay.c      logins that wait for failed ones
 */
#ifndef WEIR_ROUTE_LOGIN_H
#define WEIR_ROUTE_LOGIN_H

#include "router.h"

/* --- admission.c ----------------------------------------------------------------------- */

extern const struct weir_session_ops router_session_ops;
/* A greeting client has its server with its settings applied: welcome it. */
void admission_welcome_from_server(struct client *client);
/* " tls=TLSv1.3/TLS_AES_256_GCM_SHA384" for the log, or "". */
#define ADMISSION_TLS_MAX 96
const char *admission_tls(const struct client *client, char *text, size_t size);
/* The settings of a greeting client were refused, or no server could be had. */
void admission_refuse(struct client *client, enum weir_reason reason, const char *text,
                      const struct weir_buffer *server_error);
void admission_forget_greetings(struct destination *destination);
/* Replication clients have no place in the queue of a paused pool: those that may go on do. */
void admission_greet_paused(struct weir_router *router);

/* --- access.c -------------------------------------------------------------------------- */

/* What this client must prove, by auth_type. It may be for later: when it depends on what others have
 * to be asked, weir_client_admitted follows. False: refused at once, with login->refusal set. */
bool access_demand(struct client *client, struct weir_admission *admission);
/* It has proven that; whether its certificate names it, too, where the rule wants that. False: refused
 * and closed. */
bool access_confirm(struct client *client);
/* What the log should say of a refusal by a rule; or NULL. */
const char *access_note(const struct client *client);
/* The login is over. */
void access_end(struct client *client);
/* The same for one that has waited, for what failed before it. */
bool access_demand_now(struct client *client, struct weir_admission *admission);

/* --- strangers.c ----------------------------------------------------------------------- */

/* Reads the limits from the router's configuration. */
void strangers_configure(struct weir_router *router);
/* Whether the connection that was just accepted may stay; otherwise it was told and closed. */
bool strangers_let_in(struct weir_router *router, int fd, const struct weir_address *peer);
/* The only one that moves a client from place to place. */
void strangers_take_place(struct client *client, enum place place);
/* As whom it is counted. False: its socket is gone. */
bool strangers_find(const struct client *client, struct weir_stranger *stranger);

/* --- delay.c --------------------------------------------------------------------------- */

enum delay_verdict {
    DELAY_NONE,
    DELAY_WAITS,   /* the admission is for later */
    DELAY_REFUSED, /* with login->refusal set */
};
enum delay_verdict delay_demand(struct client *client, struct weir_admission *admission);
/* A weir_session_ops.failed. */
bool delay_failed(struct weir_client *base);
void delay_tick(struct weir_router *router);
/* It waits no longer. */
void delay_end(struct client *client);

/* --- verdict.c ------------------------------------------------------------------------- */

/* The login is to be judged so; the password comes later. */
void verdict_demand(struct client *client, struct weir_outside *outside);
/* The session room's judge. */
void verdict_judge(struct weir_client *base, const char *password);
/* Its password was found right. */
bool verdict_is_right(const struct client *client);
/* For the log, or NULL. */
const char *verdict_problem(const struct client *client);
void verdict_end(struct client *client);
/* Workers as the rules and settings want them. */
void verdict_follow(struct weir_router *router);
void verdict_report(const struct weir_router *router);

/* --- lookup.c -------------------------------------------------------------------------- */

/* When its user is unknown but may be found in a database, that is asked and the admission is for
 * later. */
void lookup_demand(struct client *client, struct weir_admission *admission);
/* A weir_session_ops.recheck: what is remembered of the user may be old. */
bool lookup_again(struct weir_client *base);
/* The database knows the user. */
bool lookup_has_found(const struct client *client);
/* Why it does not let it in, for the log; or NULL. */
const char *lookup_problem(const struct client *client);
/* No answer will come. */
void lookup_end(struct client *client);

#endif
