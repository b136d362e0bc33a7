/* The way of a login through the rules. */
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

struct weir_hba_walk {
    struct weir_hba *hba;
    struct weir_hba_login login; /* without its peer, which is `place` */
    struct place place;
    size_t at; /* the rule that is judged */
    const struct weir_hba_rule *rule;
    enum host_state host_state;
    char *host;
};

struct weir_hba_walk *weir_hba_walk_begin(struct weir_hba *hba, const struct weir_hba_login *login)
{
    struct weir_hba_walk *walk = weir_alloc(sizeof(*walk));
    walk->hba = weir_hba_share(hba);
    walk->login = *login;
    walk->login.peer = NULL;
    hba_take_place(login->peer, &walk->place);
    return walk;
}

void weir_hba_walk_end(struct weir_hba_walk *walk)
{
    if (walk == NULL)
        return;
    weir_hba_release(walk->hba);
    free(walk->host);
    free(walk);
}

/* --- judging a rule -------------------------------------------------------------------- */

static bool database_fits(const struct hba_entry *entry, const struct weir_hba_login *login,
                          bool *trouble)
{
    for (size_t i = 0; i < entry->databases.count; i++) {
        const struct hba_name *name = &entry->databases.items[i];
        bool fits = false;
        if (login->physical_replication)
            fits = name->kind == HBA_NAME_REPLICATION;
        else if (name->kind == HBA_NAME_ALL)
            fits = true;
        else if (name->kind == HBA_NAME_SAMEUSER)
            fits = strcmp(login->database, login->user) == 0;
        else
            fits = hba_name_fits(name, login->database, trouble);
        if (fits)
            return true;
    }
    return false;
}

static bool user_fits(const struct hba_entry *entry, const struct weir_hba_login *login,
                      bool *trouble)
{
    for (size_t i = 0; i < entry->users.count; i++) {
        const struct hba_name *name = &entry->users.items[i];
        if (name->kind == HBA_NAME_ALL || hba_name_fits(name, login->user, trouble))
            return true;
    }
    return false;
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

static enum judgement judge(const struct weir_hba_walk *walk, const struct hba_entry *entry,
                            const struct ifaddrs *interfaces, enum weir_hba_step *step)
{
    const struct weir_hba_login *login = &walk->login;
    bool trouble = false;
    if (!hba_connection_fits(entry, &walk->place, login->encrypted) ||
        !hba_range_fits(entry, &walk->place, interfaces))
        return JUDGED_NOT;
    bool fits = user_fits(entry, login, &trouble) && database_fits(entry, login, &trouble);
    if (trouble)
        return JUDGED_TROUBLE;
    if (!fits || entry->range != HBA_HOST_NAME)
        return fits ? JUDGED_FITS : JUDGED_NOT;
    return judge_host(walk, entry, step);
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
