/* Rules and maps: any text is either problems with file and line, or rules; the files that they name
 * hold the text again. What was read is matched with names that are part of the text. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weir/hba.h"
#include "weir/memory.h"
#include "weir/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* So many that nesting is met, and so few that an input takes no time. */
#define READS_MAX 20

struct input {
    const char *text;
    size_t length;
    unsigned reads;
};

static char *read_input(void *context, const char *path, size_t *length, bool *missing,
                        const char **problem)
{
    struct input *input = context;
    *missing = strstr(path, "miss") != NULL || ++input->reads > READS_MAX;
    if (*missing) {
        *problem = "no such file";
        return NULL;
    }
    /* In memory of exactly this size, for the address sanitizer. */
    char *copy = malloc(input->length + (input->length == 0));
    weir_require(copy != NULL);
    if (input->length > 0)
        memcpy(copy, input->text, input->length);
    *length = input->length;
    return copy;
}

static char **list_input(void *context, const char *path, size_t *count, const char **problem)
{
    char **names = weir_alloc(2 * sizeof(*names));
    names[0] = weir_strdup("b.conf");
    names[1] = weir_strdup("a.conf");
    *count = 2;
    return names;
}

/* To the end, with answers that are always the same. */
static const struct weir_hba_rule *walk(struct weir_hba *hba, const struct weir_hba_login *login,
                                        const char *host, bool flag)
{
    struct weir_hba_walk *walk = weir_hba_walk_begin(hba, login);
    enum weir_hba_step step;
    unsigned told = 0;
    while ((step = weir_hba_walk_on(walk, NULL)) != WEIR_HBA_DECIDED) {
        if (step == WEIR_HBA_WANTS_MEMBER) {
            const char *role = weir_hba_walk_role(walk);
            weir_require(weir_hba_role_rule(hba) != NULL);
            weir_hba_walk_tell_member(walk, flag || strlen(role) % 2 == 1);
            continue;
        }
        weir_require(told++ < 2);
        if (step == WEIR_HBA_WANTS_HOST)
            weir_hba_walk_tell_host(walk, host);
        else
            weir_hba_walk_tell_own(walk, flag);
    }
    const struct weir_hba_rule *rule = weir_hba_walk_rule(walk);
    char *text = weir_hba_walk_describe_host(walk);
    weir_require((text != NULL) == (told > 0));
    weir_require(told == 0 || weir_hba_host_rule(hba) != NULL);
    free(text);
    weir_hba_walk_end(walk);
    return rule;
}

static void try_login(struct weir_hba *hba, const void *peer, const char *database,
                      const char *user, bool flag)
{
    struct weir_hba_login login = {.peer = peer,
                                   .database = database,
                                   .user = user,
                                   .physical_replication = flag,
                                   .encrypted = !flag};
    const struct weir_hba_rule *rule = walk(hba, &login, database, flag);
    if (rule == NULL)
        return;
    weir_require(rule->line > 0 && rule->file != NULL);
    weir_require(weir_hba_method_name(rule->method) != NULL);
    weir_require(rule->certificate == WEIR_HBA_NOT_ASKED || login.encrypted);
    weir_require(rule->method != WEIR_HBA_CERT || rule->certificate == WEIR_HBA_OF_USER);
    /* Asked twice, the same is answered. */
    weir_require(walk(hba, &login, database, flag) == rule);
    weir_hba_maps(hba, rule->map, database, user);
    weir_require(rule->map != NULL || weir_hba_maps(hba, NULL, user, user));
}

static void try_logins(struct weir_hba *hba, const char *database, const char *user)
{
    struct sockaddr_storage local = {.ss_family = AF_UNIX};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    for (int flag = 0; flag < 2; flag++) {
        try_login(hba, &local, database, user, flag);
        try_login(hba, &four, database, user, flag);
        try_login(hba, &six, database, user, flag);
    }
    weir_hba_maps(hba, "m", database, user);
}

static void check_problem(const char *problem)
{
    weir_require(problem[0] != '\0' && strchr(problem, ':') != NULL);
    size_t lines = 1;
    for (const char *at = problem; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    weir_require(lines <= WEIR_HBA_PROBLEMS + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {.text = (const char *)data, .length = size};
    const struct weir_hba_source source = {
        .context = &input, .read = read_input, .list = list_input};
    for (int maps = 0; maps < 2; maps++) {
        char *problem = NULL;
        input.reads = 0;
        /* Once as rules with maps, once as rules alone, so that the one's form does not hide the other. */
        struct weir_hba *hba =
            weir_hba_read_from(&source, "/dir/hba", maps ? "/dir/ident" : "", &problem);
        weir_require((hba == NULL) == (problem != NULL));
        if (problem != NULL)
            check_problem(problem);
        free(problem);
        if (hba != NULL) {
            char *name = weir_strndup((const char *)data, size < 64 ? size : 64);
            try_logins(hba, "db", "u");
            try_logins(hba, name, "u");
            try_logins(hba, "u", name);
            free(name);
        }
        weir_hba_release(hba);
    }
    return 0;
}
