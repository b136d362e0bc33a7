#include "weir/clock.h"

#include <time.h>

weir_usec weir_clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (weir_usec)now.tv_sec * WEIR_SEC + now.tv_nsec / 1000;
}
