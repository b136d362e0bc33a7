/* Private: the rules and maps as they are kept. */
#ifndef WEIR_AUTH_RULES_H
#define WEIR_AUTH_RULES_H

#include <stdint.h>

#include "lines.h"
#include "pattern.h"
#include "weir/hba.h"

enum hba_connection {
    HBA_LOCAL,
    HBA_HOST,
    HBA_HOSTSSL,
    HBA_HOSTNOSSL,
    HBA_HOSTGSSENC, /* clients cannot encrypt by GSS here, so it never fits */
    HBA_HOSTNOGSSENC,
};

enum hba_name_kind {
    HBA_NAME,
    HBA_NAME_PATTERN,
    HBA_NAME_ALL,
    HBA_NAME_SAMEUSER,
    HBA_NAME_REPLICATION,
    HBA_NAME_SAMEROLE, /* of databases: the user is a member of the role that is called so */
    HBA_NAME_MEMBER,   /* of users: likewise of the role in `text` */
};

struct hba_name {
    enum hba_name_kind kind;
    char *text;                   /* of HBA_NAME and HBA_NAME_MEMBER */
    struct weir_pattern *pattern; /* of HBA_NAME_PATTERN */
};

struct hba_names {
    struct hba_name *items;
    size_t count;
};

enum hba_range { HBA_EVERYWHERE, HBA_NET, HBA_SAMEHOST, HBA_SAMENET, HBA_HOST_NAME };

struct hba_entry {
    struct weir_hba_rule rule; /* its map and outside are owned here */
    enum hba_connection connection;
    enum hba_range range;
    unsigned char family; /* of HBA_NET */
    uint8_t address[16];  /* 4 of them for IPv4, masked already */
    uint8_t mask[16];
    char *host; /* of HBA_HOST_NAME; with a dot in front it stands for all that end so */
    struct hba_names databases;
    struct hba_names users;
};

/* A line of a map: who the system says it is, and who that may be here. */
struct ident_entry {
    const char *file;
    size_t line;
    char *map;
    struct hba_name system;
    struct hba_name user;
    bool inserts; /* \1 stands in the text of `user` */
};

struct ident {
    struct ident_entry *items;
    size_t count;
    char **files;
    size_t file_count;
};

struct system_user {
    uid_t uid;
    char *name; /* NULL: the system knows none */
};

#define SYSTEM_USERS_MAX 64

struct weir_hba {
    unsigned owners;
    struct hba_entry *items;
    size_t count;
    char **files;
    size_t file_count;
    bool needs_interfaces;
    struct ident ident;
    struct system_user system_users[SYSTEM_USERS_MAX];
    size_t system_user_count;
};

/* --- hba.c ----------------------------------------------------------------------------- */

/* A word that is a pattern or a name as it stands. False: a problem was told. */
bool hba_read_name(const struct weir_word *word, const struct weir_line *line,
                   struct weir_problems *problems, struct hba_name *name);
void hba_clear_name(struct hba_name *name);

/* --- hba_match.c ----------------------------------------------------------------------- */

/* An address as bytes: IPv4 inside IPv6 is IPv4, so that a socket for both kinds is no way round a
 * rule. */
struct place {
    int family; /* AF_UNIX, AF_INET or AF_INET6 */
    uint8_t bytes[16];
};
/* False: it has no bytes, being of a Unix socket or of nothing. */
bool hba_take_place(const struct sockaddr *address, struct place *place);
bool hba_is_same_place(const struct place *left, const struct place *right);
/* Type of connection and address; of a host name only that there is one to be compared. */
bool hba_connection_fits(const struct hba_entry *entry, const struct place *place, bool encrypted);
bool hba_range_fits(const struct hba_entry *entry, const struct place *place,
                    const struct ifaddrs *interfaces);
bool hba_host_fits(const struct hba_entry *entry, const char *host);

/* HBA_NAME and HBA_NAME_PATTERN; a pattern that is given up counts as NO with a warning logged, and
 * sets *trouble. */
bool hba_name_fits(const struct hba_name *name, const char *text, bool *trouble);

/* --- outside.c ------------------------------------------------------------------------- */

/* Takes an option of the methods pam and ldap; *good is false when a problem was told. False: it is an
 * option of another kind. */
bool outside_read_option(const struct weir_line *line, struct weir_problems *problems,
                         struct weir_hba_rule *rule, const char *option, bool *good);
/* After the last option: what goes together. False: a problem was told. */
bool outside_check(const struct weir_line *line, struct weir_problems *problems,
                   struct weir_hba_rule *rule);

/* --- ident.c --------------------------------------------------------------------------- */

void ident_read(struct ident *ident, const struct weir_hba_source *source, const char *path,
                struct weir_problems *problems);
void ident_clear(struct ident *ident);
bool ident_maps(const struct ident *ident, const char *map, const char *system_user,
                const char *user);

#endif
