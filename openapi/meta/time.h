/* time: instants and durations as the API writes them. Instants are microseconds since 1970, UTC.
 *
 * metav1.Time is RFC 3339 in whole seconds, metav1.MicroTime the same with six decimals; durations are Go's
 * ("1h30m0s"). Named with its folder: include "openapi/meta/time.h".
 */
#ifndef SKIFF_OPENAPI_META_TIME_H
#define SKIFF_OPENAPI_META_TIME_H

#include "base/arena.h"
#include "base/str.h"

#include <stdint.h>

/* 0, or ERR_BAD_REQUEST. Any zone and fraction; finer than microseconds is cut. */
int time_parse_rfc3339(struct str in, int64_t *ret_us);
int64_t time_from(struct str in);                          /* 0 when absent or malformed */
struct str time_format(struct arena *a, int64_t us);       /* 2026-01-02T15:04:05Z */
struct str time_format_micro(struct arena *a, int64_t us); /* 2026-01-02T15:04:05.000000Z */
#define TIME_TEXT_MAX 40
size_t time_write(int64_t us, char out[TIME_TEXT_MAX]); /* length, NUL-terminated */
/* Civil date (proleptic Gregorian) and back, for schedules. wday 0 = Sunday. */
struct time_civil {
    int year, month, day, hour, minute, second, wday;
};
struct time_civil time_civil_from(int64_t unix_s);
int64_t time_civil_to(const struct time_civil *c); /* Unix seconds; out-of-range fields carry over */

/* Go's time.ParseDuration; 0 or ERR_BAD_REQUEST. */
int duration_parse(struct str in, int64_t *ret_ns);
struct str duration_format(struct arena *a, int64_t ns); /* Go's Duration.String: "1h0m0s", "1.5s", "0s" */
/* As kubectl prints ages: "45s", "2m30s", "5h12m", "3d4h", "12d", "2y11d"; "<invalid>" when clearly negative. */
struct str duration_human(struct arena *a, int64_t us);

#endif
