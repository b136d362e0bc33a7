/* Private to the top room: the lines above every view. */
#ifndef WEIR_TOP_HEADER_H
#define WEIR_TOP_HEADER_H

#include <stdio.h>

#include "console.h"

/* Which daemon, since when, in which state. Lines have no end. */
void header_print_daemon(const struct console *console, bool utf8, FILE *out);
/* Clients, servers, rates. */
void header_print_load(const struct console *console, FILE *out);
/* Why there is nothing new; nothing when all is well. */
void header_print_silence(const struct console *console, bool utf8, weir_usec now, FILE *out);

#endif
