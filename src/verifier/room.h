/* Private to the verifier room: pgweir-verify, a process that answers whether passwords are right.
 *
 *   main.c       options, signals, limits
 *   serve.c      questions in, answers out
 *   pam.c        by PAM       ldap.c   by LDAP
 *   ldap_text.c  names in filters and distinguished names, addresses of servers
 */
#ifndef WEIR_VERIFIER_ROOM_H
#define WEIR_VERIFIER_ROOM_H

#include "weir/clock.h"
#include "weir/question.h"

/* What is known of one question in the end. */
struct finding {
    enum weir_verdict verdict;
    char text[1024]; /* for the log */
};
void finding_set(struct finding *finding, enum weir_verdict verdict, const char *format, ...)
    weir_printf(3, 4);

/* NULL when it is not there. */
const char *option_of(const struct weir_question *question, const char *name);

/* --- serve.c --------------------------------------------------------------------------- */

/* "pam ldap": what this program was built with. */
const char *serve_methods(void);
/* Until the other side closes the socket. The exit status. */
int serve(int descriptor);
/* One question, whose password is not empty. */
void serve_judge(const struct weir_question *question, struct finding *finding);

/* --- pam.c, ldap.c --------------------------------------------------------------------- */

void pam_judge(const struct weir_question *question, struct finding *finding);
void ldap_judge(const struct weir_question *question, struct finding *finding);

/* --- ldap_text.c ----------------------------------------------------------------------- */

/* All of these are in fresh memory. */

/* A value inside a filter (RFC 4515). */
char *ldap_text_in_filter(const char *value);
/* A value inside a distinguished name (RFC 4514). */
char *ldap_text_in_name(const char *value);
/* (attribute=user), or `filter` with the user's name for each $username in it. `attribute` and `filter`
 * may be NULL. */
char *ldap_text_filter(const char *attribute, const char *filter, const char *user);
/* prefix, user, suffix. Where they make up a distinguished name the user's name is escaped; where they do
 * not (DOMAIN\user, user@domain), a name that could change the meaning gives NULL. */
char *ldap_text_bind_name(const char *prefix, const char *user, const char *suffix);
/* "scheme://host:port scheme://host:port" from hosts with blanks between. */
char *ldap_text_addresses(const char *scheme, const char *hosts, int port);
int ldap_text_count(const char *addresses);

#endif
