/* The file is pages of one size; a page may go on over the following ones (overflow). Pages 0 and 1 are metas: the
 * newer intact one names the root bucket's page. A bucket is a tree of branch and leaf pages; in the root bucket's
 * leaves stand the other buckets: a header with their own root page, or, when small, the page itself behind it. Numbers
 * are those of the machine that wrote it: little-endian. */
#include "storage/snapshot/bbolt.h"

enum {
    PAGE_HEAD = 16,
    ELEMENT = 16,
    BUCKET_HEAD = 16,
    META_LEN = 64,
    FLAG_BRANCH = 1,
    FLAG_LEAF = 2,
    FLAG_META = 4,
    LEAF_BUCKET = 1,
    DEPTH_MAX = 32
};

#define META_MAGIC 0xED0CDAEDu

static uint64_t get(const char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = n; i--;)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

struct walk {
    struct str file;
    size_t page_size;
    uint64_t pages_left; /* a tree visits no page twice: more visits than pages are a circle */
    bbolt_fn *fn;
    void *arg;
    struct err *err;
};

struct node {
    uint64_t id; /* for messages */
    struct str bytes;
    unsigned flags, count;
};

static int damaged(const struct walk *w, uint64_t page, const char *what)
{
    return err_set(w->err, ERR_CORRUPT, "page %llu: %s", (unsigned long long)page, what);
}

static int node_parse(const struct walk *w, uint64_t id, struct str bytes, struct node *ret)
{
    if (bytes.len < PAGE_HEAD)
        return damaged(w, id, "it is cut off");
    *ret = (struct node){
        .id = id, .bytes = bytes, .flags = (unsigned)get(bytes.p + 8, 2), .count = (unsigned)get(bytes.p + 10, 2)};
    if (ret->flags != FLAG_BRANCH && ret->flags != FLAG_LEAF)
        return damaged(w, id, "it is neither branch nor leaf");
    if ((size_t)ret->count * ELEMENT > bytes.len - PAGE_HEAD)
        return damaged(w, id, "it counts more elements than it has room for");
    return 0;
}

static int node_at(struct walk *w, uint64_t id, struct node *ret)
{
    if (id >= w->file.len / w->page_size)
        return damaged(w, id, "it lies beyond the file");
    if (!w->pages_left--)
        return damaged(w, id, "pages refer to each other in a circle");
    const char *p = w->file.p + id * w->page_size;
    uint64_t n = (get(p + 12, 4) + 1) * w->page_size, room = w->file.len - id * w->page_size;
    if (get(p, 8) != id)
        return damaged(w, id, "it says that it is another one");
    return node_parse(w, id, (struct str){p, n < room ? n : room}, ret);
}

static int leaf_element(const struct walk *w, const struct node *n, unsigned i, unsigned *ret_flags,
                        struct str *ret_key, struct str *ret_value)
{
    size_t at = PAGE_HEAD + (size_t)i * ELEMENT;
    const char *e = n->bytes.p + at;
    uint64_t pos = at + get(e + 4, 4), key_len = get(e + 8, 4), value_len = get(e + 12, 4);
    if (pos + key_len + value_len > n->bytes.len)
        return damaged(w, n->id, "an element ends beyond it");
    *ret_flags = (unsigned)get(e, 4);
    *ret_key = (struct str){n->bytes.p + pos, key_len};
    *ret_value = (struct str){n->bytes.p + pos + key_len, value_len};
    return 0;
}

static int walk_node(struct walk *w, const struct node *n, bool buckets, int depth)
{
    int rc = 0;
    if (depth > DEPTH_MAX)
        return damaged(w, n->id, "the tree is too deep");
    for (unsigned i = 0; rc == 0 && i < n->count; i++) {
        struct str key, value;
        struct node child;
        unsigned flags = 0;
        if (n->flags == FLAG_BRANCH) {
            rc = node_at(w, get(n->bytes.p + PAGE_HEAD + (size_t)i * ELEMENT + 8, 8), &child);
            if (rc == 0)
                rc = walk_node(w, &child, buckets, depth + 1);
        } else {
            rc = leaf_element(w, n, i, &flags, &key, &value);
            if (rc == 0 && ((flags & LEAF_BUCKET) != 0) == buckets)
                rc = w->fn(w->arg, key, value, w->err);
        }
    }
    return rc;
}

/* ---- metas ---- */

static bool meta_intact(const char *p)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < META_LEN - 8; i++)
        h = (h ^ (uint8_t)p[i]) * 0x100000001b3u;
    return get(p, 4) == META_MAGIC && get(p + 4, 4) == 2 && get(p + META_LEN - 8, 8) == h;
}

/* The newer intact meta; the page size stands in both. */
static const char *find_meta(struct str file)
{
    const char *best = NULL;
    for (size_t size = 0; size <= 65536; size = size ? size * 2 : 1024) { /* page 0, and page 1 of every usual size */
        const char *p = file.p + size + PAGE_HEAD;
        if (size + PAGE_HEAD + META_LEN <= file.len && meta_intact(p) && (!size || get(p + 8, 4) == size) &&
            (!best || get(p + 48, 8) > get(best + 48, 8)))
            best = p;
    }
    return best;
}

struct find {
    struct str wanted, header;
};

static int find_bucket(void *arg, struct str key, struct str value, struct err *err)
{
    struct find *f = arg;
    (void)err;
    if (str_eq(key, f->wanted))
        f->header = value;
    return 0;
}

int bbolt_walk(struct str file, struct str bucket, bbolt_fn *fn, void *arg, struct err *err)
{
    struct find f = {.wanted = bucket};
    struct node root;
    const char *meta = find_meta(file);
    if (!meta)
        return err_set(err, ERR_CORRUPT, "pages 0 and 1: this is no database of etcd, or both its heads are damaged");
    struct walk w = {.file = file, .page_size = get(meta + 8, 4), .fn = find_bucket, .arg = &f, .err = err};
    if (w.page_size < 512 || w.page_size > 65536 || (w.page_size & (w.page_size - 1)))
        return err_set(err, ERR_CORRUPT, "pages 0 and 1: the page size of %zu bytes makes no sense", w.page_size);
    w.pages_left = file.len / w.page_size;
    int rc = node_at(&w, get(meta + 16, 8), &root);
    if (rc == 0)
        rc = walk_node(&w, &root, true, 0);
    if (rc < 0)
        return rc;
    if (!f.header.p)
        return err_set(err, ERR_NOT_FOUND, "there is no bucket \"" STR_FMT "\"", STR_ARG(bucket));
    if (f.header.len < BUCKET_HEAD)
        return err_set(err, ERR_CORRUPT, "bucket \"" STR_FMT "\" is cut off", STR_ARG(bucket));
    w.fn = fn;
    w.arg = arg;
    uint64_t id = get(f.header.p, 8);
    rc = id ? node_at(&w, id, &root) : node_parse(&w, 0, str_sub(f.header, BUCKET_HEAD, f.header.len), &root);
    return rc < 0 ? rc : walk_node(&w, &root, false, 0);
}
