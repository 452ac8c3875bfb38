/* json_parse: text to yyjson's read-only document, with Go's words for what is wrong with the text.
 *
 * The document's strings live in the arena (they need no copy); the document itself is on the heap until
 * yyjson_doc_free. As Go does, bytes that are not UTF-8 and lone surrogates are read as U+FFFD. The parser does not
 * recurse, so that depth is checked by whoever walks the document.
 */
#ifndef SKIFF_OPENAPI_JSON_PARSE_H
#define SKIFF_OPENAPI_JSON_PARSE_H

#include "base/arena.h"
#include "base/err.h"

#include <yyjson.h>

/* Numbers are kept as their text (yyjson_is_raw). ERR_BAD_REQUEST with encoding/json's message. */
int json_parse(struct arena *a, struct str text, yyjson_doc **ret, struct err *err);

/* encoding/json's message for text that is not JSON; false when the text is fine by Go. */
bool json_syntax_error(struct str text, struct err *err);

/* json_decode where a strict error was met before (STR_NULL: none); it stands first. */
struct json_options;
struct value;
int json_decode_after(struct arena *a, struct str first_strict_error, struct str text, struct json_options *opt,
                      struct value **ret, struct err *err);

#endif
