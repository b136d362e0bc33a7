/* Private to the top room: text that others chose, made fit for a terminal. */
#ifndef WEIR_TOP_TEXT_H
#define WEIR_TOP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* A copy on one line in which a terminal shows every character as itself: white space is a blank,
 * what would move, hide or turn something is written as \x1b or \u{202e}, as are bytes that are not
 * UTF-8. With `utf8` false what is not ASCII becomes '?'. Free it. Depends on the locale, as the
 * terminal does. */
char *text_safe(const char *text, bool utf8);
/* Columns of the terminal that safe text takes. */
size_t text_width(const char *safe);
/* Bytes of the longest beginning that takes at most `columns`; `taken`: how many it takes. */
size_t text_fit(const char *safe, size_t columns, size_t *taken);

#endif
