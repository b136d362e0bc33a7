#include "console.h"

#define WEIR_TABLE(name, walker, help) static const struct column walker##_##name[] = {
#define WEIR_REFUSED_TABLE(name, reason)
#define WEIR_COLUMN(name, type) {#name, COLUMN_##type},
#define WEIR_TABLE_END                                                                             \
    }                                                                                              \
    ;
#include "tables.def"
#undef WEIR_TABLE
#undef WEIR_REFUSED_TABLE
#undef WEIR_COLUMN
#undef WEIR_TABLE_END

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct table tables[] = {
#define WEIR_TABLE(name, walker, help)                                                             \
    {#name, walker##_##name, COUNT(walker##_##name), walker, help},
#define WEIR_REFUSED_TABLE(name, reason) {#name, NULL, 0, NULL, reason},
#define WEIR_COLUMN(name, type)
#define WEIR_TABLE_END
#include "tables.def"
#undef WEIR_TABLE
#undef WEIR_REFUSED_TABLE
#undef WEIR_COLUMN
#undef WEIR_TABLE_END
};
const size_t table_count = COUNT(tables);

static const struct column explanation[] = {{"explanation", COLUMN_TEXT}};

const struct table explain_table = {"EXPLAIN", explanation, COUNT(explanation), show_explanation,
                                    "what limits a pool now, and what can be done"};
