#include "storage/snapshot/identities.h"

#include "storage/snapshot/format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20, FILES_MAX = 64, NAME_LEN_MAX = 100 };

/* Names come from files of others: nothing but letters, digits, dots, dashes; no dot in front. */
static bool is_name(struct str s)
{
    bool fits = s.len > 0 && s.len <= NAME_LEN_MAX && s.p[0] != '.';
    for (size_t i = 0; i < s.len && fits; i++) {
        char c = s.p[i];
        fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
               c == '_';
    }
    return fits;
}

static int read_file(struct arena *a, const char *path, struct str *ret, struct err *err) /* 1 = no regular file */
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "open %s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        close(fd);
        return 1;
    }
    char *p = arena_alloc(a, (size_t)st.st_size + 1);
    ssize_t n = 0, got = 0;
    while (got < st.st_size && (n = read(fd, p + got, (size_t)(st.st_size - got))) > 0)
        got += n;
    int failed = n < 0 ? errno : 0;
    close(fd);
    *ret = (struct str){p, (size_t)got};
    return failed ? err_set_errno(err, ERR_IO, failed, "read %s", path) : 0;
}

static int is_identity(const struct dirent *e)
{
    struct str name = str_from(e->d_name);
    return is_name(name) && !str_ends(name, STR(".tmp"));
}

int identities_read(struct arena *a, const char *data_dir, const char *encryption_config,
                    struct snapshot_identities *ret, struct err *err)
{
    char folder[4096], path[4400];
    struct dirent **list;
    int rc = 0;
    *ret = (struct snapshot_identities){0};
    snprintf(folder, sizeof folder, "%s/pki", data_dir);
    int n = scandir(folder, &list, is_identity, alphasort);
    if (n < 0)
        return err_set_errno(err, ERR_IO, errno, "the identities in %s", folder);
    for (int i = 0; i < n; i++) {
        struct snapshot_identity id = {.name = arena_str(a, str_from(list[i]->d_name))};
        bool configured = encryption_config && strcmp(list[i]->d_name, "encryption.yaml") == 0;
        snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
        free(list[i]);
        if (rc >= 0 && !configured && ret->n < FILES_MAX && (rc = read_file(a, path, &id.bytes, err)) == 0)
            ARENA_PUSH(a, ret->items, ret->n, ret->cap, id);
    }
    free(list);
    struct snapshot_identity keys = {.name = STR("encryption.yaml")};
    if (rc >= 0 && encryption_config && (rc = read_file(a, encryption_config, &keys.bytes, err)) == 0)
        ARENA_PUSH(a, ret->items, ret->n, ret->cap, keys);
    return rc < 0 ? rc : 0;
}

void identities_pack(const struct snapshot_identities *ids, struct buf *out)
{
    for (size_t i = 0; i < ids->n; i++) {
        snapshot_add32(out, (uint32_t)ids->items[i].name.len);
        snapshot_add32(out, (uint32_t)ids->items[i].bytes.len);
        buf_add_str(out, ids->items[i].name);
        buf_add_str(out, ids->items[i].bytes);
    }
}

int identities_parse(struct arena *a, struct str s, struct snapshot_identities *ret, struct err *err)
{
    *ret = (struct snapshot_identities){0};
    while (s.len) {
        uint64_t name_len = s.len < 8 ? SNAPSHOT_CHUNK_MAX : snapshot_get32(s.p);
        uint64_t len = s.len < 8 ? SNAPSHOT_CHUNK_MAX : snapshot_get32(s.p + 4);
        if (name_len + len > s.len - 8 || s.len < 8 || ret->n == FILES_MAX || len > FILE_MAX)
            return err_set(err, ERR_CORRUPT, "its identities cannot be read");
        struct snapshot_identity id = {str_sub(s, 8, 8 + name_len), str_sub(s, 8 + name_len, 8 + name_len + len)};
        if (!is_name(id.name))
            return err_set(err, ERR_CORRUPT, "its identities have a name that makes no sense");
        id.name = arena_str(a, id.name);
        id.bytes = arena_str(a, id.bytes);
        ARENA_PUSH(a, ret->items, ret->n, ret->cap, id);
        s = str_sub(s, 8 + name_len + len, s.len);
    }
    return 0;
}

/* 0 made, 1 there already. */
static int write_one(struct arena *a, const char *folder, const struct snapshot_identity *id, struct err *err)
{
    char path[4400];
    struct str there;
    snprintf(path, sizeof path, "%s/" STR_FMT, folder, STR_ARG(id->name));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) {
        int rc = read_file(a, path, &there, err);
        if (rc < 0)
            return rc;
        return rc == 0 && str_eq(there, id->bytes)
                   ? 1
                   : err_set(err, ERR_ALREADY_EXISTS,
                             "%s is there already and another than the snapshot's, which would make a cluster of two "
                             "identities: restore into a new directory",
                             path);
    }
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "create %s", path);
    ssize_t n = write(fd, id->bytes.p, id->bytes.len);
    int failed = n != (ssize_t)id->bytes.len || fsync(fd) < 0 ? (errno ? errno : EIO) : 0;
    close(fd);
    if (!failed)
        return 0;
    unlink(path);
    return err_set_errno(err, ERR_IO, failed, "write %s", path);
}

int identities_write(const struct snapshot_identities *ids, const char *data_dir, bool *made, struct err *err)
{
    char folder[4096];
    struct arena *a = arena_create(0);
    int rc = 0;
    memset(made, 0, ids->n * sizeof *made);
    snprintf(folder, sizeof folder, "%s/pki", data_dir);
    if (ids->n && mkdir(folder, 0700) < 0 && errno != EEXIST)
        rc = err_set_errno(err, ERR_IO, errno, "create %s", folder);
    for (size_t i = 0; i < ids->n && rc >= 0; i++) {
        rc = write_one(a, folder, &ids->items[i], err);
        made[i] = rc == 0;
    }
    int fd = rc < 0 || !ids->n ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    arena_destroy(a);
    if (rc < 0)
        identities_remove(ids, data_dir, made);
    return rc < 0 ? rc : 0;
}

void identities_remove(const struct snapshot_identities *ids, const char *data_dir, const bool *made)
{
    char path[4400];
    for (size_t i = 0; i < ids->n; i++) {
        snprintf(path, sizeof path, "%s/pki/" STR_FMT, data_dir, STR_ARG(ids->items[i].name));
        if (made[i])
            unlink(path);
    }
}
