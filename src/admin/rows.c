#include "rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "weir/text.h"

#define BINARY 1

static const struct {
    uint32_t oid;
    uint16_t size;
} types[] = {
    [COLUMN_TEXT] = {25, 0xffff},
    [COLUMN_INT4] = {23, 4},
    [COLUMN_INT8] = {20, 8},
    [COLUMN_NUMERIC] = {1700, 0xffff},
};

uint16_t formats_of(const struct formats *formats, size_t column)
{
    if (formats->count == 0)
        return 0;
    return formats->codes[formats->count == 1 ? 0 : column];
}

void rows_begin(struct rows *rows)
{
    rows->next = 0;
    rows->begin = weir_message_begin(&rows->writer, 'D');
    weir_write_u16(&rows->writer, (uint16_t)rows->column_count);
}

void rows_end(struct rows *rows)
{
    weir_require(rows->next == rows->column_count);
    weir_message_end(&rows->writer, rows->begin);
    rows->count++;
}

static void write_bytes(struct rows *rows, const void *bytes, size_t length)
{
    weir_require(rows->next < rows->column_count);
    rows->next++;
    weir_write_u32(&rows->writer, (uint32_t)length);
    weir_write_bytes(&rows->writer, bytes, length);
}

/* The console says that it speaks UTF-8, and drivers end the session when it does not. Names and
 * statements are in whatever encoding their client has, and may have been cut. */
static void write_mended(struct rows *rows, const char *text, size_t length)
{
    struct weir_buffer mended = {0};
    if (!weir_text_mend(&mended, text, length))
        rows->writer.failed = true;
    write_bytes(rows, weir_buffer_bytes(&mended), weir_buffer_length(&mended));
    weir_buffer_clear(&mended);
}

void rows_bytes(struct rows *rows, const char *text, size_t length)
{
    weir_require(rows->columns[rows->next].type == COLUMN_TEXT);
    if (weir_text_is_whole(text, length))
        write_bytes(rows, text, length);
    else
        write_mended(rows, text, length);
}

void rows_null(struct rows *rows)
{
    weir_require(rows->next < rows->column_count);
    rows->next++;
    weir_write_u32(&rows->writer, UINT32_MAX);
}

void rows_text(struct rows *rows, const char *text)
{
    if (text == NULL)
        rows_null(rows);
    else
        rows_bytes(rows, text, strlen(text));
}

void rows_yes_no(struct rows *rows, bool value)
{
    rows_text(rows, value ? "yes" : "no");
}

static void write_integer(struct rows *rows, int64_t value, size_t size)
{
    uint8_t bytes[8];
    weir_put_u32(bytes, (uint32_t)((uint64_t)value >> 32));
    weir_put_u32(bytes + 4, (uint32_t)value);
    write_bytes(rows, bytes + 8 - size, size);
}

#define NUMERIC_BASE     10000
#define NUMERIC_NEGATIVE 0x4000
#define NUMERIC_DIGITS   5 /* to the base; 2^63 has so many */

/* Number of digits, weight of the first, sign, digits behind the point, digits. */
static void write_numeric(struct rows *rows, int64_t value)
{
    uint64_t left = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;
    uint16_t digits[NUMERIC_DIGITS];
    uint16_t count = 0;
    for (; left > 0; left /= NUMERIC_BASE)
        digits[count++] = (uint16_t)(left % NUMERIC_BASE);
    uint16_t words[4 + NUMERIC_DIGITS] = {count, count > 0 ? (uint16_t)(count - 1) : 0,
                                          value < 0 ? NUMERIC_NEGATIVE : 0, 0};
    for (uint16_t i = 0; i < count; i++)
        words[4 + i] = digits[count - 1 - i];
    uint8_t bytes[sizeof(words)];
    for (size_t i = 0; i < 4u + count; i++) {
        bytes[2 * i] = (uint8_t)(words[i] >> 8);
        bytes[2 * i + 1] = (uint8_t)words[i];
    }
    write_bytes(rows, bytes, 2 * (4 + (size_t)count));
}

void rows_number(struct rows *rows, int64_t value)
{
    enum column_type type = rows->columns[rows->next].type;
    if (type == COLUMN_INT4 && value > INT32_MAX)
        value = INT32_MAX;
    if (type == COLUMN_INT4 && value < INT32_MIN)
        value = INT32_MIN;
    if (type != COLUMN_TEXT && formats_of(&rows->formats, rows->next) == BINARY) {
        if (type == COLUMN_NUMERIC)
            write_numeric(rows, value);
        else
            write_integer(rows, value, type == COLUMN_INT4 ? 4 : 8);
        return;
    }
    char text[24];
    int length = snprintf(text, sizeof(text), "%" PRId64, value);
    write_bytes(rows, text, (size_t)length);
}

void rows_instant(struct rows *rows, int64_t usec)
{
    if (usec == 0) {
        rows_null(rows);
        return;
    }
    time_t seconds = usec / 1000000;
    struct tm parts;
    char text[64];
    localtime_r(&seconds, &parts);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %Z", &parts);
    rows_text(rows, text);
}

void rows_write_description(struct weir_writer *writer, const struct column *columns, size_t count,
                            const struct formats *formats)
{
    size_t begin = weir_message_begin(writer, 'T');
    weir_write_u16(writer, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        weir_write_string(writer, columns[i].name);
        weir_write_u32(writer, 0);
        weir_write_u16(writer, 0);
        weir_write_u32(writer, types[columns[i].type].oid);
        weir_write_u16(writer, types[columns[i].type].size);
        weir_write_u32(writer, UINT32_MAX);
        weir_write_u16(writer, formats_of(formats, i));
    }
    weir_message_end(writer, begin);
}
