/* Private to the log: the systemd journal, whose lines have fields to search by. */
#ifndef WEIR_UTIL_JOURNAL_H
#define WEIR_UTIL_JOURNAL_H

#include <stdbool.h>

#include "weir/log.h"

/* Standard error is a stream into the journal: what goes there may as well go by its own protocol. */
bool journal_is_stderr(void);
/* One entry: MESSAGE, PRIORITY, PGWEIR_EVENT, PGWEIR_CLIENT or PGWEIR_SERVER, PGWEIR_DATABASE,
 * PGWEIR_USER, PGWEIR_PEER. Lost when the journal does not take it: its own stream would not either. */
void journal_send(int priority, const struct weir_log_who *who, const char *event,
                  const char *message);

#endif
