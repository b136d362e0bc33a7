/* Time. Instants are microseconds of the monotonic clock, durations are microseconds; both are
 * weir_usec. Zero as a duration means "no limit" wherever a setting allows it. */
#ifndef WEIR_CLOCK_H
#define WEIR_CLOCK_H

#include <stdint.h>

typedef int64_t weir_usec;

#define WEIR_MSEC ((weir_usec)1000)
#define WEIR_SEC  ((weir_usec)1000000)

/* CLOCK_MONOTONIC in microseconds. Inside a loop turn prefer loop->now. */
weir_usec weir_clock_now(void);

#endif
