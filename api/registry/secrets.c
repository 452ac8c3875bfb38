#include "api/registry/registry.h"

static struct str base64(struct arena *a, struct str in)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *p = arena_alloc(a, (in.len + 2) / 3 * 4 + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.len; i += 3) {
        uint32_t bits = (uint32_t)(unsigned char)in.p[i] << 16;
        bits |= i + 1 < in.len ? (uint32_t)(unsigned char)in.p[i + 1] << 8 : 0;
        bits |= i + 2 < in.len ? (uint32_t)(unsigned char)in.p[i + 2] : 0;
        p[n++] = alphabet[bits >> 18];
        p[n++] = alphabet[bits >> 12 & 63];
        p[n++] = i + 1 < in.len ? alphabet[bits >> 6 & 63] : '=';
        p[n++] = i + 2 < in.len ? alphabet[bits & 63] : '=';
    }
    return (struct str){p, n};
}

/* stringData is write-only: its entries go over those of data. */
static void merge_string_data(struct registry_call *c, struct value *v)
{
    const struct value *from = value_getz(v, "stringData");
    if (value_len(from)) {
        struct value *data = value_ensure_map(c->arena, v, "data");
        for (size_t i = 0; i < from->map.len; i++)
            value_set(c->arena, data, from->map.members[i].key,
                      value_string(c->arena, base64(c->arena, value_str(from->map.members[i].value))));
    }
    value_removez(v, "stringData");
}

static void prepare_update(struct registry_call *c, struct value *v, const struct value *old)
{
    merge_string_data(c, v);
    if (!value_path_str(v, "type").len) /* its absence means no change */
        value_setz(c->arena, v, "type", value_string(c->arena, value_path_str(old, "type")));
}

const struct registry_rules registry_secrets = {
    .group = "", .resource = "secrets", .prepare_create = merge_string_data, .prepare_update = prepare_update};
