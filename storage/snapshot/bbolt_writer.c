/* Pages in the order of the file: two metas, the list of free pages (none), then bucket after bucket its leaves and,
 * above them, its branches, and last the root: the leaf that names the buckets. A page is full when the next element
 * would not fit; an element that fits no page gets one with overflow for itself. */
#include "storage/snapshot/bbolt_writer.h"

#include "base/mem.h"
#include "base/vec.h"

#include <assert.h>
#include <stdlib.h>

enum {
    PAGE = 4096,
    LONG_PAGE = 8 * PAGE,
    HEAD = 16,
    ELEMENT = 16,
    FLAG_BRANCH = 1,
    FLAG_LEAF = 2,
    FLAG_META = 4,
    FLAG_FREELIST = 16,
    LEAF_BUCKET = 1,
    FREELIST_PAGE = 2,
    FIRST_PAGE = 3
};

struct child { /* a page that a branch above names; its first key lies in `keys` */
    uint64_t page;
    size_t key_at;
    uint32_t key_len;
};

typedef VEC(struct child) child_vec;

struct bucket {
    struct str name;
    uint64_t root; /* 0: empty */
};

struct page { /* under construction */
    unsigned flags, count;
    struct buf elements, data;
    size_t data_len; /* also while measuring */
    struct child first;
};

struct bbolt_writer {
    bool measured;
    uint64_t next_page, n_pages, root;
    struct page page;
    child_vec children; /* of the level under construction */
    struct buf keys;    /* their first keys */
    VEC(struct bucket) buckets;
};

struct bbolt_writer *bbolt_writer_create(void)
{
    struct bbolt_writer *w = MEM_NEW(struct bbolt_writer);

    *w = (struct bbolt_writer){.next_page = FIRST_PAGE, .page.flags = FLAG_LEAF};
    return w;
}

void bbolt_writer_destroy(struct bbolt_writer *w)
{
    if (!w)
        return;
    buf_free(&w->page.elements);
    buf_free(&w->page.data);
    buf_free(&w->keys);
    vec_free(&w->children);
    vec_free(&w->buckets);
    free(w);
}

static void add_number(struct buf *out, uint64_t v, size_t n)
{
    char p[8];

    for (size_t i = 0; i < n; i++, v >>= 8)
        p[i] = (char)(v & 0xff);
    buf_add(out, p, n);
}

static void set32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++, v >>= 8)
        p[i] = (char)(v & 0xff);
}

static uint32_t get32(const char *p)
{
    const uint8_t *b = (const uint8_t *)p;

    return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

static void add_zeros(struct buf *out, size_t n)
{
    buf_reserve(out, n);
    memset(out->p + out->len, 0, n);
    out->len += n;
}

static void add_head(struct buf *out, uint64_t id, unsigned flags, unsigned count, uint64_t overflow)
{
    add_number(out, id, 8);
    add_number(out, flags, 2);
    add_number(out, count, 2);
    add_number(out, overflow, 4);
}

/* ---- pages ---- */

static size_t page_len(const struct page *p)
{
    return HEAD + (size_t)p->count * ELEMENT + p->data_len;
}

static void page_reset(struct page *p, unsigned flags)
{
    p->flags = flags;
    p->count = 0;
    p->data_len = p->elements.len = p->data.len = 0;
}

/* The page under construction gets its place. */
static uint64_t page_close(struct bbolt_writer *w, struct buf *out)
{
    struct page *p = &w->page;
    uint64_t id = w->next_page, overflow = (page_len(p) - 1) / PAGE;

    w->next_page += overflow + 1;
    if (!out)
        return id;
    size_t len = page_len(p);
    buf_reserve(out, (overflow + 1) * PAGE);
    add_head(out, id, p->flags, p->count, overflow);
    for (size_t i = 0; i < p->count; i++) { /* the place of an element's data counts from the element itself */
        char *pos = p->elements.p + i * ELEMENT + (p->flags == FLAG_LEAF ? 4 : 0);
        set32(pos, get32(pos) + (uint32_t)((p->count - i) * ELEMENT));
    }
    buf_add_str(out, buf_str(&p->elements));
    buf_add_str(out, buf_str(&p->data));
    add_zeros(out, (overflow + 1) * PAGE - len);
    return id;
}

static void put_element(struct bbolt_writer *w, unsigned flags, uint64_t child, struct str key, struct str value,
                        struct buf *out)
{
    struct page *p = &w->page;
    p->count++;
    p->data_len += key.len + value.len;
    if (!out)
        return;
    if (p->flags == FLAG_LEAF)
        add_number(&p->elements, flags, 4);
    add_number(&p->elements, p->data.len, 4); /* page_close makes it count from the element */
    add_number(&p->elements, key.len, 4);
    if (p->flags == FLAG_LEAF)
        add_number(&p->elements, value.len, 4);
    else
        add_number(&p->elements, child, 8);
    buf_add_str(&p->data, key);
    if (value.len)
        buf_add_str(&p->data, value);
}

/* ---- a bucket ---- */

static void note_first(struct bbolt_writer *w, struct str key)
{
    w->page.first = (struct child){.key_at = w->keys.len, .key_len = (uint32_t)key.len};
    buf_add_str(&w->keys, key);
}

static void flush_page(struct bbolt_writer *w, child_vec *to, struct buf *out)
{
    if (!w->page.count)
        return;
    w->page.first.page = page_close(w, out);
    vec_push(to, w->page.first);
    page_reset(&w->page, w->page.flags);
}

/* Large elements share a page with overflow until little of it is left over, or it has grown long. */
static bool is_full(const struct page *p)
{
    size_t len = page_len(p), left = (PAGE - len % PAGE) % PAGE;

    return left <= PAGE / 8 || len >= LONG_PAGE;
}

void bbolt_writer_add(struct bbolt_writer *w, struct str key, struct str value, struct buf *out)
{
    if (w->page.count && page_len(&w->page) + ELEMENT + key.len + value.len > PAGE && is_full(&w->page))
        flush_page(w, &w->children, out);
    if (!w->page.count)
        note_first(w, key);
    put_element(w, 0, 0, key, value, out);
}

/* Level above level, until one page names all. */
static uint64_t build_branches(struct bbolt_writer *w, struct buf *out)
{
    while (w->children.len > 1) {
        child_vec above = {0};

        page_reset(&w->page, FLAG_BRANCH);
        for (size_t i = 0; i < w->children.len; i++) {
            const struct child *c = &w->children.items[i];

            if (w->page.count && page_len(&w->page) + ELEMENT + c->key_len > PAGE)
                flush_page(w, &above, out);
            if (!w->page.count)
                w->page.first = *c;
            put_element(w, 0, c->page, (struct str){w->keys.p + c->key_at, c->key_len}, STR(""), out);
        }
        flush_page(w, &above, out);
        vec_free(&w->children);
        w->children = above;
    }
    return w->children.len ? w->children.items[0].page : 0;
}

static void end_bucket(struct bbolt_writer *w, struct buf *out)
{
    if (w->buckets.len) {
        flush_page(w, &w->children, out);
        w->buckets.items[w->buckets.len - 1].root = build_branches(w, out);
    }
    w->children.len = w->keys.len = 0;
    page_reset(&w->page, FLAG_LEAF);
}

void bbolt_writer_bucket(struct bbolt_writer *w, struct str name, struct buf *out)
{
    assert(w->measured == (out != NULL));
    end_bucket(w, out);
    vec_push(&w->buckets, (struct bucket){.name = name});
}

/* The leaf that names the buckets; an empty one stands in it whole. */
static void write_root(struct bbolt_writer *w, struct buf *out)
{
    end_bucket(w, out);
    for (size_t i = 0; i < w->buckets.len; i++) {
        const struct bucket *b = &w->buckets.items[i];
        struct buf head = {0};

        add_number(&head, b->root, 8);
        add_number(&head, 0, 8); /* the bucket's sequence */
        if (!b->root)
            add_head(&head, 0, FLAG_LEAF, 0, 0);
        put_element(w, LEAF_BUCKET, 0, b->name, buf_str(&head), out);
        buf_free(&head);
    }
    uint64_t root = page_close(w, out);
    if (!w->measured) {
        w->root = root;
        w->n_pages = w->next_page;
    }
}

/* ---- front and end ---- */

static uint64_t fnv1a(const char *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)p[i]) * 0x100000001b3u;
    return h;
}

static void add_meta(const struct bbolt_writer *w, uint64_t id, struct buf *out)
{
    add_head(out, id, FLAG_META, 0, 0);
    size_t at = out->len;
    add_number(out, 0xED0CDAED, 4);
    add_number(out, 2, 4); /* the format's version */
    add_number(out, PAGE, 4);
    add_number(out, 0, 4);
    add_number(out, w->root, 8);
    add_number(out, 0, 8);
    add_number(out, FREELIST_PAGE, 8);
    add_number(out, w->n_pages, 8);
    add_number(out, id, 8); /* the transaction's number: the later meta leads */
    add_number(out, fnv1a(out->p + at, out->len - at), 8);
    add_zeros(out, PAGE - (out->len - at) - HEAD);
}

uint64_t bbolt_writer_start(struct bbolt_writer *w, struct buf *out)
{
    write_root(w, NULL);
    w->measured = true;
    w->next_page = FIRST_PAGE;
    w->buckets.len = 0;
    page_reset(&w->page, FLAG_LEAF);
    add_meta(w, 0, out);
    add_meta(w, 1, out);
    add_head(out, FREELIST_PAGE, FLAG_FREELIST, 0, 0);
    add_zeros(out, PAGE - HEAD);
    return w->n_pages * PAGE;
}

int bbolt_writer_finish(struct bbolt_writer *w, struct buf *out, struct err *err)
{
    write_root(w, out);
    if (w->next_page != w->n_pages)
        return err_set(err, ERR_INTERNAL, "what was to be written changed meanwhile: %llu pages, %llu were measured",
                       (unsigned long long)w->next_page, (unsigned long long)w->n_pages);
    return 0;
}
