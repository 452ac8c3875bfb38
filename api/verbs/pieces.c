#include "api/verbs/list.h"

#include "openapi/object/object.h"

#include <stdlib.h>

void pieces_body(struct pieces *p, const struct object *o)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 32;
        p->marks = realloc(p->marks, p->cap * sizeof *p->marks);
        if (!p->marks)
            abort();
    }
    p->marks[p->n].body_of = object_get(o);
    p->marks[p->n++].text_end = p->text.len;
    p->bytes += object_tail(o).len;
}

void pieces_send(struct api_request *req, struct pieces *p)
{
    struct slice out[64];
    size_t n = 0, from = 0;
    struct slice text = p->text.p ? slice_take(p->text.p, p->text.len) : (struct slice){0};
    size_t text_len = p->text.len;
    p->text = (struct buf){0};
    req->answer_bytes += p->bytes + text_len;
    for (size_t i = 0; i <= p->n; i++) {
        size_t end = i < p->n ? p->marks[i].text_end : text_len;
        if (end > from) {
            ref_get(text.owner);
            out[n++] = (struct slice){text.p + from, end - from, text.owner};
            from = end;
        }
        if (i < p->n) {
            const struct object *o = p->marks[i].body_of;
            struct str tail = object_tail(o);
            out[n++] = (struct slice){tail.p, tail.len, (struct ref *)&o->ref}; /* the mark's reference goes along */
        }
        if (n + 2 > sizeof out / sizeof *out) {
            http_send(req->exchange, out, n);
            n = 0;
        }
    }
    if (n)
        http_send(req->exchange, out, n);
    ref_put(text.owner);
    p->n = 0;
    p->bytes = 0;
}

void pieces_free(struct pieces *p)
{
    for (size_t i = 0; i < p->n; i++)
        object_put(p->marks[i].body_of);
    free(p->marks);
    buf_free(&p->text);
    *p = (struct pieces){0};
}
