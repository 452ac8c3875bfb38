/* base64: RFC 4648, both alphabets: the standard one with padding (section 4), and the one for URLs and names without
 * (section 5). Results are in the arena, with a NUL behind their end.
 */
#ifndef SKIFF_BASE_BASE64_H
#define SKIFF_BASE_BASE64_H

#include "base/arena.h"

struct str base64_encode(struct arena *a, struct str plain);
struct str base64url_encode(struct arena *a, struct str plain);
/* Either alphabet, padded or not; false for anything else, a length that cannot be included. */
bool base64_decode(struct arena *a, struct str text, struct str *ret);

#endif
