/* The bounded reader: the input is a list of reads, one byte each, over the same input. It never
 * leaves its bounds, never goes back, and a failure is final. */
#include "weir/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_nothing_read(struct weir_reader *reader, uint8_t what)
{
    switch (what % 5) {
    case 0:
        return weir_read_u8(reader) == 0;
    case 1:
        return weir_read_u16(reader) == 0;
    case 2:
        return weir_read_u32(reader) == 0;
    case 3:
        return weir_read_string(reader) == NULL;
    default:
        return weir_read_bytes(reader, what / 5) == NULL;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_reader reader;
    weir_reader_init(&reader, data, size);
    for (size_t i = 0; i < size; i++) {
        const bool failed = reader.failed;
        const size_t left = weir_reader_left(&reader);
        const bool nothing = is_nothing_read(&reader, data[i]);
        weir_require(weir_reader_left(&reader) <= left && left <= size);
        weir_require(!failed || reader.failed);
        weir_require(!reader.failed || (nothing && weir_reader_left(&reader) == 0));
    }
    return 0;
}
