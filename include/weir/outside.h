/* Passwords that are verified outside of pgweir, by PAM or LDAP: the method and its options, as a rule
 * in pg_hba.conf's form names them. Source: PostgreSQL documentation, sections "LDAP Authentication" and
 * "PAM Authentication"; RFC 4516 for ldapurl. */
#ifndef WEIR_OUTSIDE_H
#define WEIR_OUTSIDE_H

#include <stdbool.h>
#include <stddef.h>

struct weir_outside_option {
    const char *name;
    const char *value;
};

/* So many an outside may have at most. */
#define WEIR_OUTSIDE_OPTIONS 16

/* Immutable and counted: a login may go on with the options that it began with when the rules have been
 * replaced. What ldapurl says stands in the options of its parts, of which ldapscope (base, one, sub,
 * children) is written in no other way. */
struct weir_outside {
    unsigned owners;
    const char *method; /* "pam" or "ldap" */
    struct weir_outside_option options[WEIR_OUTSIDE_OPTIONS];
    size_t count;
};
struct weir_outside *weir_outside_share(struct weir_outside *outside);
void weir_outside_release(struct weir_outside *outside); /* NULL is fine; wipes */
/* NULL when it is not there. */
const char *weir_outside_value(const struct weir_outside *outside, const char *name);

#endif
