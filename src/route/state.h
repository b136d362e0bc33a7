/* Private to the route room: state of sessions that outlasts transactions, other than prepared
 * statements and pins.
 *
 *   settings.c   applies settings               learning.c   asks which state holds
 *   initial.c    those of connect_query         custom.c     settings with names of clients' own
 *   sequences.c  what currval and lastval go by
 */
#ifndef WEIR_ROUTE_STATE_H
#define WEIR_ROUTE_STATE_H

#include "router.h"

/* --- settings.c, learning.c ------------------------------------------------------------ */

/* Sends what makes server->settings equal to what the client wants. True: the client must be held
 * until the answer is there. */
bool settings_sync(struct server *server, struct client *client);
void settings_on_synced(struct server *server);
/* The profile with values in the server's own spelling, as reported by a session that has it. */
const struct weir_profile *settings_canonical(const struct weir_profile *profile,
                                              const struct weir_parameters *parameters);
/* ParameterStatus while a client is bound. */
void settings_on_reported(struct server *server, const char *name, const char *value);
/* E'' strings mean the same whatever standard_conforming_strings says. */
void settings_write_literal(struct weir_writer *writer, const char *text);
/* Asks the server which settings hold, and which other state there is; the client, if there is one, is
 * held meanwhile. */
void settings_ask(struct server *server);
/* A row of the answer to settings_sync. */
void settings_on_applied(struct server *server, const uint8_t *body, size_t length);
/* The query that undoes server->resets has succeeded: what holds now is known without asking. */
void settings_on_reset(struct server *server);
/* The client's own settings, and those of its login, are spelled as in `spelled` from now on. */
void settings_respell(struct client *client, const struct weir_profile *spelled);
/* Sends what makes up for a RESET of everything. False: nothing is missing. */
bool settings_restore(struct server *server);
void settings_on_row(struct server *server, const uint8_t *body, size_t length);
void settings_on_learned(struct server *server);

/* --- initial.c: over what connect_query has set ----------------------------------------- */

/* Its own settings over the initial ones, without those that it has RESET; borrowed. */
const struct weir_profile *settings_merge(struct client *client,
                                          const struct weir_profile *initial);
/* What must hold on the connection for this client; borrowed. */
static inline const struct weir_profile *settings_wanted(struct client *client,
                                                         const struct server *server)
{
    return __builtin_expect(server->initial == NULL, 1) ? client->settings
                                                        : settings_merge(client, server->initial);
}
/* The client has changed what it asked for at its login. RESET and DEFAULT lead back to that, and what was
 * reset cannot be told from what was never set: so all that such a client has is set in the session, also
 * what the connection has by itself. */
bool settings_left_login(const struct client *client);
static inline bool settings_hold(const struct server *server, struct client *client)
{
    return server->settings == settings_wanted(client, server) &&
           (server->proven || client->startup == client->settings || !settings_left_login(client));
}
/* A server connection that has these needs nothing. */
static inline const void *settings_affinity(const struct client *client)
{
    return client->merged != NULL ? client->merged : client->settings;
}
/* Takes over the reference: the client's own settings are these now. */
void settings_change(struct client *client, const struct weir_profile *settings);
/* Splits what holds on the connection into what the client has RESET of the initial settings, which
 * is remembered, and its own, which is returned as a new reference. */
const struct weir_profile *settings_take_own(struct client *client,
                                             const struct weir_profile *initial,
                                             const struct weir_profile *held);
/* The name (lower case) has a value again. */
void settings_not_unset(struct client *client, const char *name);
/* The next word with a dot in a connect_query, which may be the name of a setting, or NULL. */
const char *initial_custom_name(const char *sql, size_t *length);
/* Some of the initial settings do not hold at present. */
bool settings_lack_initial(const struct server *server);
void settings_forget_client(struct client *client);

/* --- custom.c: settings with names of clients' own --------------------------------------- */

/* The values of a Bind: the body from the formats on, as far as it is there. */
struct custom_values {
    const uint8_t *rest;
    const uint8_t *end;
};

/* A text is sent with `mentions` not 0 (enum sql_mention); values NULL: there are none. */
void custom_mind(struct server *server, const uint8_t *text, size_t length, unsigned mentions,
                 const struct custom_values *values);
/* A setting of unknown name may be set: nobody else may get the connection before it is reset. */
void custom_keep_connection(struct server *server);
/* The name, in lower case, is asked for from now on. False: too many are. */
bool custom_note(struct server *server, const char *name);
/* A text whose effect is not known is sent: literals and values in it that look like such names are asked
 * for, this once. A function may set what it is told to. */
void custom_suspect(struct server *server, const uint8_t *text, size_t length,
                    const struct custom_values *values);
/* A setting with this name holds: if it was one of those, it is asked for from now on. */
void custom_on_row(struct server *server, const char *name);
/* Adds the part of the question that asks for them. */
void custom_ask(const struct server *server, struct weir_writer *writer);
/* Likewise for the names that functions have in their sources, unless these were read already. */
void custom_ask_functions(struct server *server, struct weir_writer *writer);
/* A row with such a name. */
void custom_on_function(struct server *server, const char *name);
/* Functions have changed. */
void custom_forget_functions(struct destination *destination);
/* They may have. */
void custom_forget_old_functions(struct destination *destination);
/* The question failed for a name that this user may not read: without it, it is asked again. False:
 * that was not the cause. */
bool custom_hide(struct server *server);
void custom_free(struct destination *destination);

/* --- sequences.c: what currval and lastval go by ------------------------------------------- */

/* Clients of this pool keep their connection for it. */
bool sequences_matter(const struct server *server);
/* A value was taken, as far as texts and tags tell. */
void sequences_taken(struct server *server);
/* DISCARD SEQUENCES or DISCARD ALL. */
void sequences_discarded(struct server *server);
/* With the question for other state, and before it: asks whether values have been taken that no text told
 * of, where that matters. */
void sequences_question(struct server *server);
void sequences_on_answer(struct server *server);
/* A text that mentions currval or lastval is about to be sent. */
void sequences_asked(struct server *server);

#endif
