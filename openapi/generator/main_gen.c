/* skiff-schema-gen SCHEMA-FOLDER OUTPUT-FOLDER: the schema source to C tables and view structs. */
#include "openapi/generator/emit.h"

#include <stdlib.h>
#include <string.h>

static bool same_content(const char *path, const char *content, size_t len)
{
    FILE *in = fopen(path, "rb");
    if (!in)
        return false;
    char *old = allocate(len + 1);
    size_t got = fread(old, 1, len + 1, in);
    fclose(in);
    bool same = got == len && memcmp(old, content, len) == 0;
    free(old);
    return same;
}

static char *content;
static size_t content_len;

static FILE *begin(void)
{
    FILE *out = open_memstream(&content, &content_len);
    if (!out)
        fail("out of memory");
    return out;
}

static void end(FILE *out, const char *path)
{
    if (fclose(out) != 0)
        fail("out of memory");
    if (!same_content(path, content, content_len)) {
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(content, 1, content_len, file) != content_len || fclose(file) != 0)
            fail("cannot write %s", path);
    }
    free(content);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        fail("usage: skiff-schema-gen SCHEMA-FOLDER OUTPUT-FOLDER");
    const struct model *m = model_load(argv[1]);
    static const struct {
        const char *name;
        void (*emit)(FILE *out, const struct model *m);
    } whole[] = {{"views.h", emit_views},
                 {"messages.h", emit_messages},
                 {"tables.c", emit_index},
                 {"resources.c", emit_resources}};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        FILE *out = begin();
        whole[i].emit(out, m);
        end(out, format("%s/%s", argv[2], whole[i].name));
    }
    for (size_t i = 0; i < m->n_files; i++) {
        FILE *out = begin();
        emit_types(out, m->files[i], m);
        end(out, format("%s/tables_%s_%s.c", argv[2], m->files[i]->folder, m->files[i]->version));
    }
    return 0;
}
