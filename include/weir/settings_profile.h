/* Session settings as values: an immutable, shared set of (name, value) pairs. Equal sets are the
 * same object, so "does this server connection have what this client needs" is a pointer compare.
 * Room: util. */
#ifndef WEIR_SETTINGS_PROFILE_H
#define WEIR_SETTINGS_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uthash.h>

struct weir_profile_set; /* all profiles of a daemon */

struct weir_setting {
    const char *name;  /* lower case */
    const char *value; /* of any length */
};

struct weir_profile {
    UT_hash_handle hh;
    struct weir_profile_set *set;
    uint32_t references;
    uint32_t count;
    struct weir_setting settings[]; /* sorted by name; texts follow in the same allocation */
};

struct weir_profile_set *weir_profile_set_create(void);
void weir_profile_set_destroy(struct weir_profile_set *set);
/* The empty profile; like every function that returns a profile, it adds a reference. */
const struct weir_profile *weir_profile_empty(struct weir_profile_set *set);
const struct weir_profile *weir_profile_ref(const struct weir_profile *profile);
/* Drops a reference; NULL is fine. */
void weir_profile_unref(const struct weir_profile *profile);
/* The profile with `name` set to `value`, or without `name` when value is NULL. Any case of name.
 */
const struct weir_profile *weir_profile_with(const struct weir_profile *profile, const char *name,
                                             const char *value);
/* From pairs in any order; of equal names the last wins. */
const struct weir_profile *weir_profile_make(struct weir_profile_set *set,
                                             const struct weir_setting *settings, size_t count);
/* The value of `name` (lower case), or NULL. */
const char *weir_profile_value(const struct weir_profile *profile, const char *name);

#endif
