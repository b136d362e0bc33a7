/* Texts that the reference page and the manual page share, in Markdown. */
#ifndef WEIR_CONF_REFERENCE_H
#define WEIR_CONF_REFERENCE_H

#include "setting.h"

struct weir_reference_group {
    const char *title;
    const char *text;
};

extern const struct weir_reference_group weir_reference_groups[WEIR_GROUP_COUNT];
extern const char weir_reference_head[];
extern const char weir_reference_databases[];

#endif
