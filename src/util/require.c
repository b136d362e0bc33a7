#include "weir/require.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void weir_require_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "pgweir: requirement failed: %s (%s:%d)\n", expression, file, line);
    fflush(stderr);
    abort();
}
