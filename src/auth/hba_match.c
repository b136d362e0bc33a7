/* Whether a rule fits where a login comes from and what it asks for, each part by itself. */
#include <errno.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "rules.h"
#include "weir/log.h"
#include "weir/memory.h"

/* --- addresses ------------------------------------------------------------------------- */

static size_t length_of(int family)
{
    return family == AF_INET ? 4 : 16;
}

bool hba_take_place(const struct sockaddr *address, struct place *place)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memset(place, 0, sizeof(*place));
    if (address == NULL)
        return false;
    place->family = address->sa_family;
    if (address->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof(four));
        memcpy(place->bytes, &four.sin_addr, 4);
        return true;
    }
    if (address->sa_family != AF_INET6)
        return false;
    struct sockaddr_in6 six;
    memcpy(&six, address, sizeof(six));
    memcpy(place->bytes, &six.sin6_addr, 16);
    if (memcmp(place->bytes, mapped, sizeof(mapped)) == 0) {
        place->family = AF_INET;
        memmove(place->bytes, place->bytes + 12, 4);
    }
    return true;
}

static bool is_within(const struct place *place, int family, const uint8_t *address,
                      const uint8_t *mask)
{
    if (place->family != family)
        return false;
    uint8_t differs = 0;
    for (size_t i = 0; i < length_of(family); i++)
        differs |= (uint8_t)((place->bytes[i] ^ address[i]) & mask[i]);
    return differs == 0;
}

bool hba_is_same_place(const struct place *left, const struct place *right)
{
    return left->family == right->family &&
           memcmp(left->bytes, right->bytes, length_of(left->family)) == 0;
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* An interface without a mask has one address, as in PostgreSQL. */
static bool is_interface(const struct place *place, const struct ifaddrs *each, bool whole_net)
{
    static const uint8_t all[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct place own, mask;
    if (!hba_take_place(each->ifa_addr, &own))
        return false;
    bool masked = whole_net && hba_take_place(each->ifa_netmask, &mask) &&
                  mask.family == own.family && !is_zero(mask.bytes, length_of(own.family));
    return is_within(place, own.family, own.bytes, masked ? mask.bytes : all);
}

bool hba_range_fits(const struct hba_entry *entry, const struct place *place,
                    const struct ifaddrs *interfaces)
{
    switch (entry->range) {
    case HBA_EVERYWHERE:
    case HBA_HOST_NAME:
        return true;
    case HBA_NET:
        return is_within(place, entry->family, entry->address, entry->mask);
    case HBA_SAMEHOST:
    case HBA_SAMENET:
        break;
    }
    for (const struct ifaddrs *each = interfaces; each != NULL; each = each->ifa_next)
        if (is_interface(place, each, entry->range == HBA_SAMENET))
            return true;
    return false;
}

/* As in PostgreSQL: letters of ASCII are the same in both cases. */
bool hba_host_fits(const struct hba_entry *entry, const char *host)
{
    size_t length = strlen(host), wanted = strlen(entry->host);
    if (entry->host[0] != '.')
        return strcasecmp(entry->host, host) == 0;
    return length >= wanted && strcasecmp(entry->host, host + length - wanted) == 0;
}

bool hba_connection_fits(const struct hba_entry *entry, const struct place *place, bool encrypted)
{
    if ((entry->connection == HBA_LOCAL) != (place->family == AF_UNIX))
        return false;
    switch (entry->connection) {
    case HBA_HOSTSSL:
        return encrypted;
    case HBA_HOSTNOSSL:
        return !encrypted;
    case HBA_HOSTGSSENC:
        return false;
    case HBA_LOCAL:
    case HBA_HOST:
    case HBA_HOSTNOGSSENC:
        break;
    }
    return true;
}

/* --- names ----------------------------------------------------------------------------- */

bool hba_name_fits(const struct hba_name *name, const char *text, bool *trouble)
{
    if (name->kind != HBA_NAME_PATTERN)
        return name->kind == HBA_NAME && strcmp(name->text, text) == 0;
    enum weir_pattern_result result = weir_pattern_match(name->pattern, text, NULL);
    *trouble = *trouble || result == WEIR_PATTERN_TOO_DEAR;
    return result == WEIR_PATTERN_YES;
}

/* --- names of the system ---------------------------------------------------------------- */

bool weir_hba_maps(const struct weir_hba *hba, const char *map, const char *system_user,
                   const char *user)
{
    return ident_maps(&hba->ident, map, system_user, user);
}

static char *ask_system(uid_t uid)
{
    struct passwd entry, *found = NULL;
    size_t size = 4096;
    char *room = weir_alloc(size);
    while (getpwuid_r(uid, &entry, room, size, &found) == ERANGE && size < 1u << 20) {
        free(room);
        size *= 2;
        room = weir_alloc(size);
    }
    char *name = found != NULL ? weir_strdup(found->pw_name) : NULL;
    free(room);
    return name;
}

/* Beyond so many the oldest is asked for again. */
static const char *name_of(struct weir_hba *hba, uid_t uid)
{
    for (size_t i = 0; i < SYSTEM_USERS_MAX && i < hba->system_user_count; i++)
        if (hba->system_users[i].uid == uid)
            return hba->system_users[i].name;
    struct system_user *slot = &hba->system_users[hba->system_user_count++ % SYSTEM_USERS_MAX];
    free(slot->name);
    *slot = (struct system_user){.uid = uid, .name = ask_system(uid)};
    return slot->name;
}

bool weir_hba_is_peer(struct weir_hba *hba, const struct weir_hba_rule *rule, uid_t uid,
                      const char *user)
{
    const char *name = name_of(hba, uid);
    return name != NULL && ident_maps(&hba->ident, rule->map, name, user);
}
