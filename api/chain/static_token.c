#include "api/chain/static_token.h"

#include "api/chain/identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FIELDS_MAX 8

/* One record's fields; quotes hold commas, "" is a quote. Answers how many. */
static size_t csv_split(struct arena *a, struct str line, struct str fields[FIELDS_MAX])
{
    size_t n = 0, i = 0;
    while (n < FIELDS_MAX) {
        char *out = arena_alloc(a, line.len + 1);
        size_t len = 0;
        while (i < line.len && line.p[i] == ' ')
            i++;
        bool quoted = i < line.len && line.p[i] == '"';
        if (quoted)
            i++;
        for (; i < line.len && (quoted || line.p[i] != ','); i++) {
            if (quoted && line.p[i] == '"') {
                if (i + 1 >= line.len || line.p[i + 1] != '"') {
                    quoted = false;
                    continue;
                }
                i++;
            }
            out[len++] = line.p[i];
        }
        fields[n++] = str_trim((struct str){out, len});
        if (i >= line.len)
            break;
        i++;
    }
    return n;
}

int static_tokens_parse(struct str text, const char *file, struct map *ret, struct err *err)
{
    struct arena *a = arena_create(0);
    struct str line, fields[FIELDS_MAX];
    int rc = 0;
    for (int number = 1; rc == 0 && str_split(&text, '\n', &line); number++) {
        line = str_trim(line);
        if (!line.len || line.p[0] == '#')
            continue;
        size_t n = csv_split(a, line, fields);
        if (n < 3 || !fields[0].len || !fields[1].len) {
            rc =
                err_set(err, ERR_BAD_REQUEST, "%s line %d: a line is token,user,uid[,\"group1,group2\"]", file, number);
            break;
        }
        struct str groups[32], rest = n > 3 ? fields[3] : STR_NULL, group;
        size_t n_groups = 0;
        while (n_groups < 32 && str_split(&rest, ',', &group))
            if (str_trim(group).len)
                groups[n_groups++] = str_trim(group);
        struct identity *id = identity_create();
        identity_set(id, fields[1], fields[2], groups, n_groups);
        identity_put(map_put(ret, fields[0], id));
    }
    arena_destroy(a);
    return rc;
}

int static_tokens_load(const char *file, struct map **ret, struct err *err)
{
    FILE *f = fopen(file, "re");
    if (!f)
        return err_set_errno(err, ERR_IO, errno, "open the token file %s", file);
    struct buf text = {0};
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        buf_add(&text, part, n);
    fclose(f);
    struct map *m = calloc(1, sizeof *m);
    int rc = static_tokens_parse(buf_str(&text), file, m, err);
    buf_free(&text);
    *ret = m;
    return rc;
}
