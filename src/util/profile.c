#include "weir/settings_profile.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "weir/memory.h"
#include "weir/require.h"

struct weir_profile_set {
    struct weir_profile *profiles; /* hash by the key below */
    struct weir_profile *empty;
};

/* The hash key is the text block behind the settings: every name and value, each with its
 * terminator, in sorted order. Two profiles are equal exactly when these bytes are. */
static char *text_block(const struct weir_profile *profile)
{
    return (char *)(uintptr_t)&profile->settings[profile->count];
}

struct weir_profile_set *weir_profile_set_create(void)
{
    return weir_alloc(sizeof(struct weir_profile_set));
}

void weir_profile_set_destroy(struct weir_profile_set *set)
{
    if (set == NULL)
        return;
    struct weir_profile *profile, *next;
    HASH_ITER(hh, set->profiles, profile, next) {
        HASH_DEL(set->profiles, profile);
        free(profile);
    }
    free(set);
}

const struct weir_profile *weir_profile_ref(const struct weir_profile *profile)
{
    ((struct weir_profile *)(uintptr_t)profile)->references++;
    return profile;
}

void weir_profile_unref(const struct weir_profile *profile)
{
    if (profile == NULL)
        return;
    struct weir_profile *own = (struct weir_profile *)(uintptr_t)profile;
    weir_require(own->references > 0);
    if (--own->references > 0)
        return;
    if (own->set->empty == own)
        own->set->empty = NULL;
    HASH_DEL(own->set->profiles, own);
    free(own);
}

static int by_name(const void *left, const void *right)
{
    const struct weir_setting *a = left, *b = right;
    return strcmp(a->name, b->name);
}

/* `sorted` has unique lower-case names in order. */
static const struct weir_profile *intern(struct weir_profile_set *set,
                                         const struct weir_setting *sorted, size_t count)
{
    size_t text_size = 0;
    for (size_t i = 0; i < count; i++)
        text_size += strlen(sorted[i].name) + strlen(sorted[i].value) + 2;
    size_t head = sizeof(struct weir_profile) + count * sizeof(struct weir_setting);
    struct weir_profile *fresh = weir_alloc(head + text_size + 1);
    fresh->set = set;
    fresh->count = (uint32_t)count;
    char *at = text_block(fresh);
    for (size_t i = 0; i < count; i++) {
        fresh->settings[i].name = at;
        at = stpcpy(at, sorted[i].name) + 1;
        fresh->settings[i].value = at;
        at = stpcpy(at, sorted[i].value) + 1;
    }
    struct weir_profile *known;
    HASH_FIND(hh, set->profiles, text_block(fresh), text_size, known);
    if (known != NULL) {
        free(fresh);
        return weir_profile_ref(known);
    }
    HASH_ADD_KEYPTR(hh, set->profiles, text_block(fresh), text_size, fresh);
    return weir_profile_ref(fresh);
}

const struct weir_profile *weir_profile_empty(struct weir_profile_set *set)
{
    if (set->empty != NULL)
        return weir_profile_ref(set->empty);
    const struct weir_profile *empty = intern(set, NULL, 0);
    set->empty = (struct weir_profile *)(uintptr_t)empty;
    return empty;
}

static char *lower_case(const char *name)
{
    char *copy = weir_strdup(name);
    for (char *at = copy; *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
    return copy;
}

const struct weir_profile *weir_profile_make(struct weir_profile_set *set,
                                             const struct weir_setting *settings, size_t count)
{
    const struct weir_profile *profile = weir_profile_empty(set);
    for (size_t i = 0; i < count; i++) {
        const struct weir_profile *next =
            weir_profile_with(profile, settings[i].name, settings[i].value);
        weir_profile_unref(profile);
        profile = next;
    }
    return profile;
}

const struct weir_profile *weir_profile_with(const struct weir_profile *profile, const char *name,
                                             const char *value)
{
    char *key = lower_case(name);
    struct weir_setting *list = weir_alloc((profile->count + 1) * sizeof(*list));
    size_t count = 0;
    for (uint32_t i = 0; i < profile->count; i++)
        if (strcmp(profile->settings[i].name, key) != 0)
            list[count++] = profile->settings[i];
    if (value != NULL)
        list[count++] = (struct weir_setting){.name = key, .value = value};
    if (count > 1)
        qsort(list, count, sizeof(*list), by_name);
    const struct weir_profile *result = intern(profile->set, list, count);
    free(list);
    free(key);
    return result;
}

const char *weir_profile_value(const struct weir_profile *profile, const char *name)
{
    for (uint32_t i = 0; i < profile->count; i++)
        if (strcmp(profile->settings[i].name, name) == 0)
            return profile->settings[i].value;
    return NULL;
}
