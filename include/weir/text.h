/* Text that others chose: escaped so that a log line stays one line, and made valid UTF-8. */
#ifndef WEIR_TEXT_H
#define WEIR_TEXT_H

#include <stddef.h>

#include "weir/buffer.h"

enum weir_escape {
    WEIR_ESCAPE_TEXT,   /* control bytes and broken UTF-8 as \n, \x1b */
    WEIR_ESCAPE_QUOTED, /* the same, and quotes and backslashes by a backslash */
    WEIR_ESCAPE_JSON,   /* the inside of a JSON string */
};

/* Appends `length` escaped bytes; false when memory is out. */
weir_must_check bool weir_text_escape(struct weir_buffer *out, enum weir_escape how,
                                      const char *bytes, size_t length);

/* Appends the bytes with U+FFFD for each that is not part of well-formed UTF-8; false when memory is
 * out. */
weir_must_check bool weir_text_mend(struct weir_buffer *out, const char *bytes, size_t length);
bool weir_text_is_whole(const char *bytes, size_t length);

/* Length of the well-formed UTF-8 sequence at `bytes`, 0 when there is none. */
size_t weir_text_sequence(const unsigned char *bytes, size_t length);

#endif
