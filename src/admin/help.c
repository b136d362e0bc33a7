#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "weir/memory.h"

char *help_text(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    weir_require(out != NULL);
    for (size_t i = 0; i < command_row_count; i++) {
        if (command_rows[i].synopsis != NULL)
            fprintf(out, "\n\t%-44s %s", command_rows[i].synopsis, command_rows[i].help);
    }
    fprintf(out, "\n\tSHOW HELP shows this; what else can be shown:");
    for (size_t i = 0; i < table_count; i++) {
        if (tables[i].walk != NULL)
            fprintf(out, "\n\tSHOW %-39s %s", tables[i].name, tables[i].help);
    }
    fclose(out);
    return text;
}
