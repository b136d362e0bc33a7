/* Rules of who may come in, from where, and by which proof: pg_hba.conf's form, with user name maps in
 * pg_ident.conf's. Source: PostgreSQL documentation, chapter "Client Authentication", of version 16.
 *
 * What PostgreSQL would obey and pgweir cannot is a problem at load, never a line passed over. */
#ifndef WEIR_HBA_H
#define WEIR_HBA_H

#include <ifaddrs.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "weir/outside.h"

enum weir_hba_method {
    WEIR_HBA_TRUST,
    WEIR_HBA_REJECT,
    WEIR_HBA_PASSWORD,
    WEIR_HBA_MD5,
    WEIR_HBA_SCRAM,
    WEIR_HBA_PEER, /* of connections over a Unix socket only */
    WEIR_HBA_CERT, /* of connections with TLS only; then `certificate` is WEIR_HBA_OF_USER */
    WEIR_HBA_PAM,
    WEIR_HBA_LDAP,
};
/* As it is written in the file. */
const char *weir_hba_method_name(enum weir_hba_method method);

/* What the client's certificate must be, besides verified. */
enum weir_hba_certificate {
    WEIR_HBA_NOT_ASKED,
    WEIR_HBA_SHOWN,   /* it must be there: clientcert=verify-ca */
    WEIR_HBA_OF_USER, /* and name the user: clientcert=verify-full */
};

/* The rules and the maps, immutable but for remembered names of system users. Counted: a login may go
 * on with those that it began with when they have been replaced. */
struct weir_hba;

struct weir_hba_rule {
    const char *file; /* where it stands, which may be an included file */
    size_t line;
    enum weir_hba_method method;
    const char *map; /* of peer and cert; NULL: the two names must be the same */
    enum weir_hba_certificate certificate;
    bool
        by_subject; /* the certificate names the user by its distinguished name, not its common name */
    struct weir_outside *outside; /* of pam and ldap, else NULL; may be shared */
};

struct weir_hba_login {
    const struct sockaddr
        *peer; /* AF_UNIX, AF_INET or AF_INET6; IPv4 inside IPv6 is taken as IPv4 */
    const char *database;
    const char *user;
    bool physical_replication; /* not of one database: only the word "replication" stands for it */
    bool encrypted;
};

/* Reads the rules and, unless `ident_file` is "", the maps. NULL on failure with *problem (free it): a
 * line "file:line: reason" for each one found, at most WEIR_HBA_PROBLEMS of them. */
#define WEIR_HBA_PROBLEMS 20
struct weir_hba *weir_hba_read(const char *hba_file, const char *ident_file, char **problem);
struct weir_hba *weir_hba_share(struct weir_hba *hba);
void weir_hba_release(struct weir_hba *hba); /* NULL is fine */
/* Rules by which everybody comes in, from everywhere, by one method: "pam" or "ldap", with its options
 * as they stand in a file of rules. `name` stands for the file, also in *problem. */
struct weir_hba *weir_hba_for_all(const char *method, const char *options, const char *name,
                                  char **problem);
size_t weir_hba_count(const struct weir_hba *hba);
/* Some rule says samehost or samenet. */
bool weir_hba_needs_interfaces(const struct weir_hba *hba);
/* Some rule is of method pam or ldap. */
bool weir_hba_asks_outside(const struct weir_hba *hba);
/* The first of those by which a password may come over the network without TLS, unless TLS is demanded
 * of all clients; NULL: none. */
const struct weir_hba_rule *weir_hba_exposing_rule(const struct weir_hba *hba);
/* The first with a password of its own (ldapbindpasswd) in a file that everybody may read or write, as its
 * mode is now; NULL: none. */
const struct weir_hba_rule *weir_hba_exposed_rule(const struct weir_hba *hba);
/* The first rule that looks at the client's certificate, that has a host name, and that goes by who is a
 * member of a role; NULL: none. */
const struct weir_hba_rule *weir_hba_certificate_rule(const struct weir_hba *hba);
const struct weir_hba_rule *weir_hba_role_rule(const struct weir_hba *hba);
const struct weir_hba_rule *weir_hba_host_rule(const struct weir_hba *hba);

/* --- which rule decides ---------------------------------------------------------------- */

/* The way of one login through the rules, in their order, to the first that fits. It asks nobody: where
 * a rule cannot be judged without knowing more it stops there, says what is wanted, and once that was
 * told goes on with the same rule of the same rules. What is cheap to judge is judged first, so nothing is
 * wanted for a rule that does not fit anyway. What was told holds for the whole walk. */
struct weir_hba_walk;

enum weir_hba_step {
    WEIR_HBA_DECIDED,         /* weir_hba_walk_rule */
    WEIR_HBA_WANTS_HOST,      /* the name of the client's address: weir_hba_walk_tell_host */
    WEIR_HBA_WANTS_ADDRESSES, /* those of weir_hba_walk_host: weir_hba_walk_tell_own */
    WEIR_HBA_WANTS_MEMBER,    /* is the user one of weir_hba_walk_role: weir_hba_walk_tell_member */
};

/* Copies what it needs of `login`: of the names 63 bytes, as PostgreSQL does. */
struct weir_hba_walk *weir_hba_walk_begin(struct weir_hba *hba, const struct weir_hba_login *login);
void weir_hba_walk_end(struct weir_hba_walk *walk); /* NULL is fine */
/* `interfaces` are for samehost and samenet, as they are now. Costs time for every rule on the way. */
enum weir_hba_step weir_hba_walk_on(struct weir_hba_walk *walk, const struct ifaddrs *interfaces);
/* NULL: none fits, so the login is refused. Lives as long as the walk, as do its rules. */
const struct weir_hba_rule *weir_hba_walk_rule(const struct weir_hba_walk *walk);
struct weir_hba *weir_hba_walk_rules(const struct weir_hba_walk *walk);

/* NULL: it has none. Then, and when the name does not have that address, host names fit no more. */
void weir_hba_walk_tell_host(struct weir_hba_walk *walk, const char *host);
/* Whether the client's address is among those of the name... */
void weir_hba_walk_tell_own(struct weir_hba_walk *walk, bool own);
/* ...that is, whether it is this one. */
bool weir_hba_walk_is_own(const struct weir_hba_walk *walk, const struct sockaddr *address);
const char *weir_hba_walk_host(const struct weir_hba_walk *walk);
/* What was found out of it, in words for the log, to be freed; NULL: it was not wanted. */
char *weir_hba_walk_describe_host(const struct weir_hba_walk *walk);

/* The role that is wanted, whose name the client may have chosen. */
const char *weir_hba_walk_role(const struct weir_hba_walk *walk);
/* Whether the user is a member. Where that cannot be known the walk has to end there: the rule might
 * reject. */
void weir_hba_walk_tell_member(struct weir_hba_walk *walk, bool member);

/* --- who somebody may be --------------------------------------------------------------- */

/* Whether the system user `uid` may be `user` by a rule of method peer. The name of a uid is asked of
 * the system once and kept as long as `hba`. */
bool weir_hba_is_peer(struct weir_hba *hba, const struct weir_hba_rule *rule, uid_t uid,
                      const char *user);
/* Whether a map (NULL: none) lets somebody of this name, by system or certificate, be `user`. */
bool weir_hba_maps(const struct weir_hba *hba, const char *map, const char *system_user,
                   const char *user);

/* --- for tests and fuzzing ------------------------------------------------------------- */

/* Where files come from. Both answers are the caller's to free, each name too. */
struct weir_hba_source {
    void *context;
    /* NULL with *problem (static text or strerror's); *missing when there is no such file. */
    char *(*read)(void *context, const char *path, size_t *length, bool *missing,
                  const char **problem);
    /* The names in a directory, in any order; NULL with *problem. */
    char **(*list)(void *context, const char *path, size_t *count, const char **problem);
};
struct weir_hba *weir_hba_read_from(const struct weir_hba_source *source, const char *hba_file,
                                    const char *ident_file, char **problem);

#endif
