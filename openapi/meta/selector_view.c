/* Label selectors from the typed views controllers read. */
#include "openapi/meta/selector.h"
#include "openapi/views.h"

int label_selector_from_view(struct arena *a, const struct meta_v1_label_selector *v, struct label_selector *ret,
                             struct err *err)
{
    *ret = (struct label_selector){.nothing = v == NULL};
    if (!v)
        return 0;
    for (size_t i = 0; i < v->match_labels.len; i++) {
        if (label_selector_add(a, ret, v->match_labels.items[i].key, STR("="), &v->match_labels.items[i].value, 1,
                               err) < 0)
            return err->code;
    }
    for (size_t i = 0; i < v->match_expressions.len; i++) {
        const struct meta_v1_label_selector_requirement *e = &v->match_expressions.items[i];
        if (label_selector_add(a, ret, e->key, e->operator_, e->values.items, e->values.len, err) < 0)
            return err->code;
    }
    label_selector_seal(ret);
    return 0;
}
