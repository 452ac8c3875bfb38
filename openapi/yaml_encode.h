/* yaml encode: a value tree as YAML text in block style, as people expect it of kubectl: two spaces, lists not indented
 * below their key, strings plain where they read back as strings and double-quoted otherwise. Member order is kept, or
 * sorted by key. The result reads back (yaml_decode) as the same tree.
 */
#ifndef SKIFF_OPENAPI_YAML_ENCODE_H
#define SKIFF_OPENAPI_YAML_ENCODE_H

#include "openapi/value.h"

void yaml_encode(struct buf *out, const struct value *v, bool sort_keys);

#endif
