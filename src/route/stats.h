/* Totals per database name, which outlive the pools they were counted in, and what they were at the
 * ends of the last periods. */
#ifndef WEIR_ROUTE_STATS_H
#define WEIR_ROUTE_STATS_H

struct destination;
struct weir_counters;
struct weir_latency;
struct weir_router;
struct stats;
struct database_stats;

struct stats *stats_create(void);
void stats_destroy(struct stats *stats);
/* A pool joins those of its database, or leaves them what it counted. */
void stats_begin_pool(struct destination *destination);
void stats_end_pool(struct destination *destination);
/* Ends a period when it is over. */
void stats_tick(struct weir_router *router);
/* Takes the loop's longest turn into account. */
void stats_note_turns(struct weir_router *router);
/* Everything that was counted since start, in memory of the router's own: until the next call. */
const struct weir_counters *stats_counters(const struct weir_router *router);
const struct weir_latency *stats_latency(const struct weir_router *router);

#endif
