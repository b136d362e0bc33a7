/* Assertions that stay in the release build. Never on bytes from the network: those are errors with
 * a row in the table of reasons. */
#ifndef WEIR_REQUIRE_H
#define WEIR_REQUIRE_H

/* Logs expression and place to stderr and aborts. */
_Noreturn void weir_require_failed(const char *expression, const char *file, int line);

#define weir_require(expression)                                                                   \
    (__builtin_expect(!!(expression), 1) ? (void)0                                                 \
                                         : weir_require_failed(#expression, __FILE__, __LINE__))

#define weir_must_check __attribute__((warn_unused_result))
#define weir_printf(format_index, first_index)                                                     \
    __attribute__((format(printf, format_index, first_index)))

#endif
