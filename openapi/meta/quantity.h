/* quantity: amounts of resources ("100m", "1.5Gi", "2e3") with exact decimal arithmetic.
 *
 * Held as a count of nanos in 128 bits and the notation it came in. As upstream: finer than nano rounds up, beyond
 * 2^63-1 is capped, and text is canonical (the largest suffix without a fraction; binary only from 1024 on).
 */
#ifndef SKIFF_OPENAPI_META_QUANTITY_H
#define SKIFF_OPENAPI_META_QUANTITY_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

enum quantity_format { QUANTITY_DECIMAL_SI, QUANTITY_BINARY_SI, QUANTITY_DECIMAL_EXPONENT };

struct quantity {
    __int128 nanos;
    enum quantity_format format;
};

enum quantity_fault { QUANTITY_OK = 0, QUANTITY_BAD_FORMAT = 1, QUANTITY_BAD_NUMBER = 2, QUANTITY_BAD_SUFFIX = 3 };
/* Answers QUANTITY_OK or what is wrong. */
enum quantity_fault quantity_scan(struct str in, struct quantity *ret);
const char *quantity_fault_text(enum quantity_fault fault); /* upstream's message */

/* As quantity_scan; ERR_BAD_REQUEST with upstream's message when malformed. */
int quantity_parse(struct str in, struct quantity *ret, struct err *err);
/* Zero when malformed or absent: for stored objects, which were validated. */
struct quantity quantity_from(struct str in);
struct quantity quantity_from_int(int64_t value);
struct quantity quantity_from_milli(int64_t milli);

/* 0 and the canonical text of `in` (the same bytes when they are canonical already), or negative err_code. */
int quantity_canonical(struct arena *a, struct str in, struct str *ret);
#define QUANTITY_TEXT_MAX 48
size_t quantity_write(const struct quantity *q, char out[QUANTITY_TEXT_MAX]); /* length; NUL-terminated */
struct str quantity_text(struct arena *a, const struct quantity *q);

/* dst keeps its notation unless it is zero, as upstream's Add. */
void quantity_add(struct quantity *dst, const struct quantity *q);
void quantity_sub(struct quantity *dst, const struct quantity *q);
int quantity_cmp(const struct quantity *a, const struct quantity *b);
int quantity_sign(const struct quantity *q);
int64_t quantity_value(const struct quantity *q);       /* whole units, rounded up (away from zero) */
int64_t quantity_milli_value(const struct quantity *q); /* thousandths, rounded up */
bool quantity_is_integer(const struct quantity *q);     /* no fraction of a whole unit */

#endif
