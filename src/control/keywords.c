/* What libpq is told: all of it, so that neither environment nor files of somebody's home add to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "room.h"
#include "weir/memory.h"

static void add(struct keywords *keywords, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    weir_require(keywords->count < KEYWORDS_MAX - 1);
    keywords->names[keywords->count] = name;
    keywords->values[keywords->count++] = value;
}

void keywords_make(struct keywords *keywords, const struct weir_conf_host *host,
                   const char *address, const struct weir_libpq_tls *tls, const char *database,
                   const char *user, const char *password)
{
    /* What certificates are for may be another name than what is connected to. */
    bool named = host->name != NULL && host->name[0] != '\0';
    if (named && address == NULL && strcmp(host->name, host->host) != 0)
        address = host->host;
    *keywords = (struct keywords){0};
    snprintf(keywords->port, sizeof(keywords->port), "%d", host->port);
    add(keywords, "host", named ? host->name : host->host);
    add(keywords, "hostaddr", address);
    add(keywords, "port", keywords->port);
    add(keywords, "dbname", database);
    add(keywords, "user", user);
    add(keywords, "password", password);
    /* Not a file, so none is read. */
    add(keywords, "passfile", "/dev/null/none");
    for (int i = 0; i < tls->count; i++)
        add(keywords, tls->names[i], tls->values[i]);
    add(keywords, "gssencmode", "disable");
    add(keywords, "application_name", "pgweir auth_query");
    /* Names without a schema mean PostgreSQL's own, whoever may create others. */
    add(keywords, "options", "-c search_path=pg_catalog");
}

static void replace(struct keywords *keywords, const char *name, const char *value)
{
    for (int i = 0; i < keywords->count; i++)
        if (strcmp(keywords->names[i], name) == 0)
            keywords->values[i] = value;
}

void keywords_for_listening(struct keywords *keywords, const char *encoding)
{
    replace(keywords, "application_name", "pgweir listen_hub");
    add(keywords, "client_encoding", encoding);
}

void problem_add(char **problem, const char *text)
{
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' '))
        length--;
    char *before = *problem;
    *problem = weir_format("%s%s%.*s", before != NULL ? before : "", before != NULL ? "; " : "",
                           (int)length, text);
    free(before);
    for (char *at = *problem; *at != '\0'; at++) {
        if (*at == '\n' || *at == '\t')
            *at = ' ';
    }
}

char *password_hint(const char *role, const char *user, const char *password,
                    enum weir_secret_kind unusable)
{
    if (password != NULL)
        return NULL;
    if (unusable == WEIR_SECRET_NONE)
        return weir_format("no password of %s \"%s\" is known: put it into auth_file, or let the "
                           "user in by trust or "
                           "peer in pg_hba.conf",
                           role, user);
    return weir_format("auth_file has only %s of %s \"%s\", with which libpq cannot log in: "
                       "put the plain password there, or let the user in by trust or peer in "
                       "pg_hba.conf",
                       unusable == WEIR_SECRET_MD5 ? "an md5 hash" : "a SCRAM verifier", role,
                       user);
}
