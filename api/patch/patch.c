#include "api/patch/patch.h"

#include "api/verbs/verb.h"
#include "openapi/json.h"
#include "openapi/merge.h"

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
    int rc = json_decode(req->arena, req->body, &plain, ret, err);
    if (rc < 0)
        return err_context(err, "error decoding patch");
    if (type == PATCH_TYPE_JSON && (*ret)->kind != VALUE_LIST)
        return err_set(err, ERR_BAD_REQUEST,
                       "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch");
    if (type != PATCH_TYPE_JSON && (*ret)->kind != VALUE_MAP)
        return err_set(
            err, ERR_BAD_REQUEST,
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}");
    return 0;
}

int patch_apply(struct api_request *req, enum patch_type type, const struct schema_message *schema,
                const struct value *original, const struct value *patch, struct value **ret, struct err *err)
{
    struct value *merged;
    int rc;
    if (type == PATCH_TYPE_JSON) {
        rc = json_patch_apply(req->arena, original, patch, &merged, err);
        if (rc == ERR_INVALID && !err->problems) { /* upstream says no more than this, and names nothing */
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
    return body_recode(req, schema, merged, ret, err);
}
