/* Any text is a selector or a clean error; what parsed prints as a selector that parses to the same text. */
#include "openapi/meta/selector.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_create(0);
    struct str in = arena_str(a, (struct str){(const char *)data, size});
    struct err err = ERR_INIT;
    struct label_selector s, again;
    if (label_selector_parse(a, in, &s, &err) == 0) {
        struct str text = label_selector_text(a, &s);
        assert(label_selector_parse(a, text, &again, &err) == 0);
        assert(str_eq(text, label_selector_text(a, &again)));
    }
    struct field_selector f, f_again;
    if (field_selector_parse(a, in, &f, &err) == 0) {
        struct str text = field_selector_text(a, &f);
        assert(field_selector_parse(a, text, &f_again, &err) == 0);
        assert(f_again.len == f.len);
    }
    arena_destroy(a);
    return 0;
}
