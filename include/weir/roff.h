/* Manual pages, from prose in the part of Markdown that our own texts use: paragraphs, `code`, lists
 * of "* " items, blocks indented by four spaces, and "## " headings. */
#ifndef WEIR_ROFF_H
#define WEIR_ROFF_H

#include <stdio.h>

/* The head of a page: "PGWEIR", section 1, "pgweir", "connection pooler for PostgreSQL". */
void weir_roff_head(const char *title, int section, const char *name, const char *summary,
                    FILE *out);
/* Whole lines of Markdown. */
void weir_roff_prose(const char *markdown, FILE *out);
/* A part of a line, with its special characters made plain; `code` within is set in bold. */
void weir_roff_inline(const char *text, FILE *out);
/* A heading, and the left side of an explained term; what follows explains it. */
void weir_roff_heading(const char *title, FILE *out);
void weir_roff_term(const char *term, FILE *out);
/* A whole page with its long lines broken, as tools for these files want it. */
void weir_roff_fold(const char *page, FILE *out);

#endif
