/* Preparation of passwords for SCRAM: RFC 4013, as PostgreSQL applies it. */
#ifndef WEIR_AUTH_SASLPREP_H
#define WEIR_AUTH_SASLPREP_H

/* The prepared password, to be wiped and freed, or NULL when it is to be used as it is: pure ASCII,
 * not valid UTF-8, containing what the profile prohibits, or longer than WEIR_SASLPREP_MAX. */
char *weir_saslprep(const char *password);

/* Preparation costs time in proportion to the length and cannot be sliced. */
#define WEIR_SASLPREP_MAX 1024

#endif
