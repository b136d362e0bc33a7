#include "effects.h"

#include <stdlib.h>
#include <string.h>

#include "router.h"
#include "sql_text.h"
#include "state.h"

#define SLOTS_FIRST 64u
#define SLOTS_MAX   4096u
/* A fingerprint stands in one of so many places. */
#define PROBES 4u
#define LEAVES 1u /* the bit of a fingerprint that is free */

struct effects {
    uint32_t size; /* of slots, a power of two */
    uint32_t used;
    uint64_t generation; /* grows when everything is forgotten */
    uint64_t *slots;
};

static struct effects *effects_of(struct destination *destination)
{
    if (destination->effects == NULL) {
        struct effects *effects = weir_alloc(sizeof(*effects));
        effects->size = SLOTS_FIRST;
        effects->slots = weir_alloc(SLOTS_FIRST * sizeof(*effects->slots));
        effects->generation = ++destination->router->next_generation;
        destination->effects = effects;
    }
    return destination->effects;
}

void effects_free(struct effects *effects)
{
    if (effects == NULL)
        return;
    free(effects->slots);
    free(effects);
}

static uint64_t *place(struct effects *effects, uint64_t print, uint32_t probe)
{
    return &effects->slots[((print >> 16) + probe) & (effects->size - 1)];
}

/* The slot of the fingerprint, or NULL. */
static uint64_t *find(struct effects *effects, uint64_t print)
{
    for (uint32_t i = 0; i < PROBES; i++) {
        uint64_t *slot = place(effects, print, i);
        if ((*slot & ~(uint64_t)LEAVES) == print)
            return slot;
    }
    return NULL;
}

static void put(struct effects *effects, uint64_t print, bool leaves);

static void grow(struct effects *effects)
{
    uint64_t *old = effects->slots;
    uint32_t size = effects->size;
    effects->size *= 2;
    effects->used = 0;
    effects->slots = weir_alloc(effects->size * sizeof(*effects->slots));
    for (uint32_t i = 0; i < size; i++)
        if (old[i] != 0)
            put(effects, old[i] & ~(uint64_t)LEAVES, old[i] & LEAVES);
    free(old);
}

/* With all places taken another one is forgotten: its text is asked after once more. */
static void put(struct effects *effects, uint64_t print, bool leaves)
{
    if (effects->used > effects->size / 2 && effects->size < SLOTS_MAX)
        grow(effects);
    uint64_t *slot = find(effects, print);
    for (uint32_t i = 0; slot == NULL && i < PROBES; i++)
        if (*place(effects, print, i) == 0) {
            slot = place(effects, print, i);
            effects->used++;
        }
    if (slot == NULL)
        slot = place(effects, print, (uint32_t)(print >> 60) % PROBES);
    *slot = print | (leaves ? LEAVES : 0u);
}

static bool are_minded(const struct server *server)
{
    const struct weir_pool_settings *settings = &server->destination->settings;
    return settings->state_learning && settings->pool_mode != WEIR_POOL_SESSION;
}

/* Whether it is known to leave nothing. */
static bool mind(struct server *server, uint64_t print)
{
    const uint64_t *slot = find(effects_of(server->destination), print);
    if (slot != NULL && (*slot & LEAVES) == 0)
        return true;
    server->dirt |= slot != NULL ? DIRT_SETTINGS : DIRT_UNSEEN;
    if (slot == NULL && server->unseen.count < EFFECTS_UNSEEN)
        server->unseen.prints[server->unseen.count++] = print;
    return false;
}

bool effects_mind(struct server *server, uint64_t print)
{
    return !are_minded(server) || mind(server, print);
}

bool effects_mind_statement(struct server *server, struct statement *statement)
{
    const struct effects *effects = server->destination->effects;
    if (__builtin_expect(effects != NULL && statement->harmless_in == effects->generation, 1))
        return true;
    if (!are_minded(server))
        return true;
    if (!mind(server, statement->print))
        return false;
    statement->harmless_in = server->destination->effects->generation;
    return true;
}

void effects_learn(struct server *server, bool left)
{
    struct effects_unseen *unseen = &server->unseen;
    struct effects *effects = effects_of(server->destination);
    /* Which of several it was is not known. */
    for (uint32_t i = 0; i < unseen->count && (left || !unseen->failed); i++)
        put(effects, unseen->prints[i], left);
    effects_forget_unseen(server);
}

void effects_forget_unseen(struct server *server)
{
    server->unseen.count = 0;
    server->unseen.failed = false;
}

void effects_forget(struct destination *destination)
{
    struct effects *effects = destination->effects;
    if (effects == NULL)
        return;
    memset(effects->slots, 0, effects->size * sizeof(*effects->slots));
    effects->used = 0;
    effects->generation = ++destination->router->next_generation;
}

void effects_mind_ddl(struct server *server, const char *tag)
{
    static const char *const tags[] = {
        "CREATE FUNCTION", "CREATE PROCEDURE", "CREATE TRIGGER",       "CREATE RULE",
        "CREATE OPERATOR", "CREATE EXTENSION", "CREATE EVENT TRIGGER", "CREATE CAST",
        "CREATE POLICY",   "CREATE AGGREGATE", "CREATE VIEW",
    };
    bool changes = strncmp(tag, "ALTER ", 6) == 0;
    if (strcmp(tag, tags[0]) == 0 || strcmp(tag, tags[1]) == 0)
        custom_forget_functions(server->destination);
    for (size_t i = 0; !changes && i < sizeof(tags) / sizeof(tags[0]); i++)
        changes = strcmp(tag, tags[i]) == 0;
    if (changes)
        effects_forget(server->destination);
}

bool effects_take_sample(struct server *server)
{
    int interval = server->destination->settings.state_sampling;
    if (server->answered == 0)
        return false; /* what has ended is the question itself */
    if (++server->unsampled <= (uint32_t)interval || interval == 0 || !are_minded(server))
        return false;
    custom_forget_old_functions(server->destination);
    return true;
}
