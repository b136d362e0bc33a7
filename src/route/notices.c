/* Texts that mention LISTEN, UNLISTEN and NOTIFY, anywhere. It only decides when to ask. */
#include <strings.h>

#include "hub.h"

static bool is_word(const uint8_t *at, const uint8_t *end, const char *word)
{
    enum { LENGTH = sizeof("listen") - 1 };
    return end - at >= LENGTH && strncasecmp((const char *)at, word, LENGTH) == 0;
}

unsigned notice_words(const uint8_t *text, size_t length)
{
    const uint8_t *end = text + length;
    unsigned words = 0;
    for (const uint8_t *at = text; at < end; at++) {
        uint8_t byte = *at | 0x20;
        if (__builtin_expect(byte != 'l' && byte != 'n', 1))
            continue;
        if (byte == 'l' && is_word(at, end, "listen"))
            words |= NOTICE_LISTENS;
        else if (byte == 'n' && is_word(at, end, "notify"))
            words |= NOTICE_NOTIFIES;
    }
    return words;
}
