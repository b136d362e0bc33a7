/* Private to the http room: libmicrohttpd, loaded when pages are first served. Debian's brings GnuTLS
 * and what that needs along, some 2 MB resident, which a daemon without pages has no use for. */
#ifndef WEIR_HTTP_LIBRARY_H
#define WEIR_HTTP_LIBRARY_H

#include <microhttpd.h>
#include <stdbool.h>

/* MICROHTTPD(name without its prefix) */
#define MICROHTTPD_FUNCTIONS(MICROHTTPD)                                                           \
    MICROHTTPD(add_connection)                                                                     \
    MICROHTTPD(add_response_header)                                                                \
    MICROHTTPD(create_response_from_buffer)                                                        \
    MICROHTTPD(create_response_from_buffer_with_free_callback_cls)                                 \
    MICROHTTPD(destroy_response)                                                                   \
    MICROHTTPD(get_connection_info)                                                                \
    MICROHTTPD(get_daemon_info)                                                                    \
    MICROHTTPD(get_timeout)                                                                        \
    MICROHTTPD(lookup_connection_value)                                                            \
    MICROHTTPD(queue_response)                                                                     \
    MICROHTTPD(resume_connection)                                                                  \
    MICROHTTPD(run)                                                                                \
    MICROHTTPD(start_daemon)                                                                       \
    MICROHTTPD(stop_daemon)                                                                        \
    MICROHTTPD(suspend_connection)

#define MICROHTTPD_POINTER(name) __typeof__(&MHD_##name) name;
struct microhttpd {
    MICROHTTPD_FUNCTIONS(MICROHTTPD_POINTER)
};
#undef MICROHTTPD_POINTER

/* Its functions, once it is loaded. */
extern struct microhttpd microhttpd;

/* Loads it the first time; it stays. False when it is not there. */
bool microhttpd_load(void);

#endif
