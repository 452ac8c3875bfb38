#include "api/patch/patch.h"

#include "api/verbs/verb.h"
#include "openapi/json.h"
#include "openapi/merge.h"
#include "openapi/problems.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int patch_type_of(const struct api_request *req, enum patch_type *ret, struct err *err)
{
    static const struct {
        const char *media;
        enum patch_type type;
    } known[] = {
        {"application/json-patch+json", PATCH_TYPE_JSON},
        {"application/merge-patch+json", PATCH_TYPE_MERGE},
        {"application/strategic-merge-patch+json", PATCH_TYPE_STRATEGIC},
        {"application/apply-patch+yaml", PATCH_TYPE_APPLY},
    };
    if (req->body_value) {
        *ret = req->patch_type;
        return 0;
    }
    struct str rest = req->content_type, media = STR_NULL;
    str_split(&rest, ';', &media);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq_nocase(str_trim(media), str_from(known[i].media))) {
            *ret = known[i].type;
            if (*ret != PATCH_TYPE_APPLY)
                return 0;
        }
    return err_set(err, ERR_UNSUPPORTED_MEDIA,
                   "the body of the request was in an unknown format - accepted media types include: "
                   "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json");
}

int patch_decode(struct api_request *req, enum patch_type type, struct value **ret, struct err *err)
{
    if (req->body_value) {
        *ret = (struct value *)req->body_value;
        return 0;
    }
    struct json_options plain = {0};
    bool json = type == PATCH_TYPE_JSON;
    int rc = json_decode(req->arena, req->body, &plain, ret, err);
    if (rc == 0 && (*ret)->kind != (json ? VALUE_LIST : VALUE_MAP))
        rc = err_set(err, ERR_BAD_REQUEST, "json: cannot unmarshal %s into Go value of type %s", json_kind_name(*ret),
                     json ? "[]handlers.jsonPatchOp" : "map[string]interface {}");
    return rc < 0 && type != PATCH_TYPE_STRATEGIC ? err_context(err, "error decoding patch") : rc;
}

/* ---- a patch whose result is no object of the kind ---- */

static int by_key(const void *a, const void *b)
{
    const struct value_member *const *x = a, *const *y = b;
    return str_cmp((*x)->key, (*y)->key);
}

static void go_format(struct buf *out, const struct value *v);

static void go_format_map(struct buf *out, const struct value *v)
{
    const struct value_member **sorted = calloc(v->map.len + 1, sizeof *sorted);
    assert(sorted);
    for (size_t i = 0; i < v->map.len; i++)
        sorted[i] = &v->map.members[i];
    qsort(sorted, v->map.len, sizeof *sorted, by_key);
    buf_addz(out, "map[");
    for (size_t i = 0; i < v->map.len; i++) {
        if (i)
            buf_add_char(out, ' ');
        buf_add_str(out, sorted[i]->key);
        buf_add_char(out, ':');
        go_format(out, sorted[i]->value);
    }
    buf_add_char(out, ']');
    free(sorted);
}

/* A value as Go's fmt prints it with %+v. */
static void go_format(struct buf *out, const struct value *v)
{
    switch (v->kind) {
    case VALUE_NULL:
        buf_addz(out, "<nil>");
        break;
    case VALUE_STRING:
        buf_add_str(out, v->string);
        break;
    case VALUE_LIST:
        buf_add_char(out, '[');
        for (size_t i = 0; i < v->list.len; i++) {
            if (i)
                buf_add_char(out, ' ');
            go_format(out, v->list.items[i]);
        }
        buf_add_char(out, ']');
        break;
    case VALUE_MAP:
        go_format_map(out, v);
        break;
    default:
        json_encode(out, v);
    }
}

/* The converter that strategic merge goes through words a wrong type in its own way. */
static const char *converter_words(struct arena *a, const char *message)
{
    char had[32], wanted[128];
    const char *into = strstr(message, " into Go "), *type = strstr(message, " of type ");
    if (!into || !type || sscanf(message, "json: cannot unmarshal %31s", had) != 1 ||
        sscanf(type, " of type %127s", wanted) != 1)
        return message;
    const char *is = strcmp(had, "array") == 0    ? "slice"
                     : strcmp(had, "object") == 0 ? "map"
                     : strcmp(had, "number") == 0 ? "int64"
                                                  : had;
    if (strncmp(wanted, "map[", 4) == 0)
        return arena_printf(a, "cannot restore map from %s", is).p;
    if (strncmp(wanted, "[]", 2) == 0)
        return arena_printf(a, "cannot restore slice from %s", is).p;
    if (strncmp(wanted, "v1.", 3) == 0)
        return arena_printf(a, "cannot restore struct from: %s", is).p;
    if (strcmp(is, "int64") == 0 && strcmp(wanted, "string") == 0) /* Go converts between these, after a fashion */
        return "cannot convert int64 to string";
    return arena_printf(a, "unrecognized type: %s", wanted).p;
}

static int not_an_object(struct api_request *req, enum patch_type type, const struct value *patch,
                         const struct value *merged, struct err *err)
{
    struct buf text = {0};
    struct problems *p = problems_create(req->arena);
    const char *why = arena_str(req->arena, str_from(err->message)).p;
    if (type == PATCH_TYPE_STRATEGIC) {
        go_format(&text, patch);
        why = converter_words(req->arena, why);
    } else {
        json_encode(&text, merged);
    }
    struct value shown = {.kind = VALUE_STRING, .string = buf_str(&text)};
    problems_add(p, PROBLEM_INVALID, STR("patch"), &shown, "%s", why);
    buf_free(&text);
    req->details = ARENA_NEW(req->arena, struct api_details);
    return problems_err(p, err);
}

int patch_apply(struct api_request *req, enum patch_type type, const struct schema_message *schema,
                const struct value *original, const struct value *patch, struct value **ret, struct err *err)
{
    struct value *merged;
    int rc;
    if (type == PATCH_TYPE_JSON) {
        rc = json_patch_apply(req->arena, original, patch, &merged, err);
        if (rc < 0 && rc != ERR_TOO_LARGE) { /* upstream says no more than this, and names nothing */
            req->details = ARENA_NEW(req->arena, struct api_details);
            return err_set(err, ERR_INVALID, "the server rejected our request due to an error in our request");
        }
    } else if (type == PATCH_TYPE_MERGE) {
        rc = merge_patch_apply(req->arena, original, patch, &merged, err);
    } else {
        rc = strategic_merge_apply(req->arena, schema, original, patch, &merged, err);
    }
    if (rc < 0)
        return rc;
    rc = body_recode(req, schema, merged, ret, err);
    return rc == ERR_BAD_REQUEST ? not_an_object(req, type, patch, merged, err) : rc;
}
