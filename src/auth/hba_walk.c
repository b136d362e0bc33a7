/* The way of a login through the rules. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules.h"
#include "weir/log.h"
#include "weir/memory.h"
#include "weir/require.h"

enum host_state {
    HOST_UNKNOWN,
    HOST_NAMED,     /* by whoever owns the address: not to be believed yet */
    HOST_CONFIRMED, /* and the name has that address */
    HOST_NAMELESS,
    HOST_LIES, /* the name does not have that address */
};

/* What was told. */
struct membership {
    const char *role; /* of the rules or the walk */
    bool member;
};

/* Of names PostgreSQL before version 17 sees so much and no more: a rule must not be escaped by a longer
 * one. */
#define NAME_BYTES 63

struct weir_hba_walk {
    struct weir_hba *hba;
    char database[NAME_BYTES + 1];
    char user[NAME_BYTES + 1];
    struct place place;
    bool encrypted;
    bool physical_replication;
    size_t at; /* the rule that is judged */
    const struct weir_hba_rule *rule;
    enum host_state host_state;
    char *host;
    const char *role; /* that is wanted; of the rules or the walk */
    struct membership *memberships;
    size_t membership_count;
};

struct weir_hba_walk *weir_hba_walk_begin(struct weir_hba *hba, const struct weir_hba_login *login)
{
    struct weir_hba_walk *walk = weir_alloc(sizeof(*walk));
    walk->hba = weir_hba_share(hba);
    snprintf(walk->database, sizeof(walk->database), "%s", login->database);
    snprintf(walk->user, sizeof(walk->user), "%s", login->user);
    walk->encrypted = login->encrypted;
    walk->physical_replication = login->physical_replication;
    hba_take_place(login->peer, &walk->place);
    return walk;
}

void weir_hba_walk_end(struct weir_hba_walk *walk)
{
    if (walk == NULL)
        return;
    weir_hba_release(walk->hba);
    free(walk->host);
    free(walk->memberships);
    free(walk);
}

/* --- judging a rule -------------------------------------------------------------------- */

enum fit {
    FITS_NOT,
    FITS,
    FITS_PERHAPS, /* if the user is a member of *role */
};

static enum fit member_fits(const struct weir_hba_walk *walk, const char *role)
{
    for (size_t i = 0; i < walk->membership_count; i++)
        if (strcmp(walk->memberships[i].role, role) == 0)
            return walk->memberships[i].member ? FITS : FITS_NOT;
    return FITS_PERHAPS;
}

static enum fit database_fits(const struct weir_hba_walk *walk, const struct hba_name *name,
                              const char **role, bool *trouble)
{
    if (walk->physical_replication)
        return name->kind == HBA_NAME_REPLICATION ? FITS : FITS_NOT;
    if (name->kind == HBA_NAME_ALL)
        return FITS;
    if (name->kind == HBA_NAME_SAMEUSER)
        return strcmp(walk->database, walk->user) == 0 ? FITS : FITS_NOT;
    if (name->kind != HBA_NAME_SAMEROLE)
        return hba_name_fits(name, walk->database, trouble) ? FITS : FITS_NOT;
    *role = walk->database;
    return member_fits(walk, *role);
}

static enum fit user_fits(const struct weir_hba_walk *walk, const struct hba_name *name,
                          const char **role, bool *trouble)
{
    if (name->kind == HBA_NAME_ALL)
        return FITS;
    if (name->kind != HBA_NAME_MEMBER)
        return hba_name_fits(name, walk->user, trouble) ? FITS : FITS_NOT;
    *role = name->text;
    return member_fits(walk, *role);
}

/* Whether one of them fits. Only if none does for certain it matters who is a member: *role is the first
 * that is not known. */
static enum fit any_fits(const struct weir_hba_walk *walk, const struct hba_names *names,
                         enum fit (*fits)(const struct weir_hba_walk *walk,
                                          const struct hba_name *name, const char **role,
                                          bool *trouble),
                         const char **role, bool *trouble)
{
    enum fit best = FITS_NOT;
    for (size_t i = 0; i < names->count; i++) {
        const char *wanted = NULL;
        enum fit fit = fits(walk, &names->items[i], &wanted, trouble);
        if (fit == FITS)
            return FITS;
        if (fit == FITS_PERHAPS && best == FITS_NOT) {
            best = FITS_PERHAPS;
            *role = wanted;
        }
    }
    return best;
}

enum judgement {
    JUDGED_NOT, /* the rule does not fit */
    JUDGED_FITS,
    JUDGED_UNDECIDED, /* *step says what is wanted */
    JUDGED_TROUBLE,   /* it cannot be told whether it fits */
};

static enum judgement judge_host(const struct weir_hba_walk *walk, const struct hba_entry *entry,
                                 enum weir_hba_step *step)
{
    switch (walk->host_state) {
    case HOST_UNKNOWN:
        *step = WEIR_HBA_WANTS_HOST;
        return JUDGED_UNDECIDED;
    case HOST_NAMED:
        *step = WEIR_HBA_WANTS_ADDRESSES;
        return hba_host_fits(entry, walk->host) ? JUDGED_UNDECIDED : JUDGED_NOT;
    case HOST_CONFIRMED:
        return hba_host_fits(entry, walk->host) ? JUDGED_FITS : JUDGED_NOT;
    case HOST_NAMELESS:
    case HOST_LIES:
        break;
    }
    return JUDGED_NOT;
}

static enum judgement judge(struct weir_hba_walk *walk, const struct hba_entry *entry,
                            const struct ifaddrs *interfaces, enum weir_hba_step *step)
{
    const char *group = NULL, *same = NULL;
    bool trouble = false;
    if (!hba_connection_fits(entry, &walk->place, walk->encrypted) ||
        !hba_range_fits(entry, &walk->place, interfaces))
        return JUDGED_NOT;
    enum fit user = any_fits(walk, &entry->users, user_fits, &group, &trouble);
    enum fit database = user == FITS_NOT
                            ? FITS_NOT
                            : any_fits(walk, &entry->databases, database_fits, &same, &trouble);
    if (trouble)
        return JUDGED_TROUBLE;
    if (database == FITS_NOT)
        return JUDGED_NOT;
    enum judgement host =
        entry->range == HBA_HOST_NAME ? judge_host(walk, entry, step) : JUDGED_FITS;
    if (host != JUDGED_FITS || (user == FITS && database == FITS))
        return host;
    walk->role = user == FITS_PERHAPS ? group : same;
    *step = WEIR_HBA_WANTS_MEMBER;
    return JUDGED_UNDECIDED;
}

enum weir_hba_step weir_hba_walk_on(struct weir_hba_walk *walk, const struct ifaddrs *interfaces)
{
    for (; walk->at < walk->hba->count; walk->at++) {
        const struct hba_entry *entry = &walk->hba->items[walk->at];
        enum weir_hba_step step = WEIR_HBA_DECIDED;
        switch (judge(walk, entry, interfaces, &step)) {
        case JUDGED_NOT:
            continue;
        case JUDGED_FITS:
            walk->rule = &entry->rule;
            return WEIR_HBA_DECIDED;
        case JUDGED_UNDECIDED:
            return step;
        case JUDGED_TROUBLE:
            /* It might have been a rule that rejects: nobody comes in by one behind it. */
            weir_log_warning(NULL, "login", "%s:%zu: the regular expression gave no answer",
                             entry->rule.file, entry->rule.line);
            return WEIR_HBA_DECIDED;
        }
    }
    return WEIR_HBA_DECIDED;
}

const struct weir_hba_rule *weir_hba_walk_rule(const struct weir_hba_walk *walk)
{
    return walk->rule;
}

struct weir_hba *weir_hba_walk_rules(const struct weir_hba_walk *walk)
{
    return walk->hba;
}

/* --- members --------------------------------------------------------------------------- */

const char *weir_hba_walk_role(const struct weir_hba_walk *walk)
{
    return walk->role;
}

void weir_hba_walk_tell_member(struct weir_hba_walk *walk, bool member)
{
    weir_require(walk->role != NULL && member_fits(walk, walk->role) == FITS_PERHAPS);
    size_t count = walk->membership_count;
    struct membership *more = weir_alloc((count + 1) * sizeof(*more));
    if (count > 0)
        memcpy(more, walk->memberships, count * sizeof(*more));
    free(walk->memberships);
    more[count] = (struct membership){.role = walk->role, .member = member};
    walk->memberships = more;
    walk->membership_count = count + 1;
}

/* --- host names ------------------------------------------------------------------------ */

void weir_hba_walk_tell_host(struct weir_hba_walk *walk, const char *host)
{
    weir_require(walk->host_state == HOST_UNKNOWN);
    walk->host = weir_strdup(host);
    walk->host_state = host != NULL ? HOST_NAMED : HOST_NAMELESS;
}

void weir_hba_walk_tell_own(struct weir_hba_walk *walk, bool own)
{
    weir_require(walk->host_state == HOST_NAMED);
    walk->host_state = own ? HOST_CONFIRMED : HOST_LIES;
}

bool weir_hba_walk_is_own(const struct weir_hba_walk *walk, const struct sockaddr *address)
{
    struct place place;
    return hba_take_place(address, &place) && hba_is_same_place(&place, &walk->place);
}

const char *weir_hba_walk_host(const struct weir_hba_walk *walk)
{
    return walk->host;
}

char *weir_hba_walk_describe_host(const struct weir_hba_walk *walk)
{
    switch (walk->host_state) {
    case HOST_UNKNOWN:
        break;
    case HOST_NAMED:
        return weir_format("the client's address has the name \"%s\", which no rule on the way has",
                           walk->host);
    case HOST_CONFIRMED:
        return weir_format("the client is \"%s\"", walk->host);
    case HOST_NAMELESS:
        return weir_strdup("the client's address has no name");
    case HOST_LIES:
        return weir_format("the client's address has the name \"%s\", and that not this address",
                           walk->host);
    }
    return NULL;
}
