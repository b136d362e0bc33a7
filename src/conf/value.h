/* Reading and showing of single values. Readers return NULL on success, else what is wrong in fresh
 * memory; they leave the result alone then. */
#ifndef WEIR_CONF_VALUE_H
#define WEIR_CONF_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "setting.h"

/* "250ms", "1.5h", "30" (seconds); "off" is 0. */
char *weir_value_read_duration(const char *text, int64_t low, int64_t high, int64_t *usec);
/* "64kB", "1.5MB", "4096" (bytes). */
char *weir_value_read_size(const char *text, int64_t low, int64_t high, uint64_t *bytes);
char *weir_value_read_int(const char *text, int64_t low, int64_t high, int *number);
char *weir_value_read_octal(const char *text, int64_t low, int64_t high, int *mode);
char *weir_value_read_bool(const char *text, bool *value);
char *weir_value_read_word(const char *text, const struct weir_setting_word *words, int *value);

char *weir_value_show_duration(int64_t usec);
char *weir_value_show_size(uint64_t bytes);
const char *weir_value_show_word(const struct weir_setting_word *words, int value);

/* True when `text` equals an item of the comma list, without regard to case. */
bool weir_value_is_listed(const char *list, const char *text);

#endif
