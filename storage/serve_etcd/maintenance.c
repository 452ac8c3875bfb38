/* Maintenance but for Snapshot (save.c). Hashes read the whole store, so worker threads make them. */
#include "base/mem.h"
#include "storage/serve_etcd/backend.h"
#include "storage/serve_etcd/serve_internal.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { ALARM_NO_SPACE = 1, ALARM_CORRUPT = 2 };

static int64_t directory_size(const char *path)
{
    DIR *d = path ? opendir(path) : NULL;
    int64_t bytes = 0;
    struct dirent *e;
    struct stat st;

    if (!d)
        return 0;
    while ((e = readdir(d)))
        if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            bytes += st.st_blocks * 512;
    closedir(d);
    return bytes;
}

void serve_status(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    Etcdserverpb__StatusResponse out = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    struct serve_etcd *s = serve_of(c);
    int64_t revision = kv_revision(s->kv);
    const char *trouble = kv_trouble(s->kv);
    char *errors[] = {(char *)(uintptr_t)trouble};

    (void)request;
    out.header = serve_header(s, c->arena, revision);
    out.version = (char *)(uintptr_t)SERVE_VERSION;
    out.dbsize = out.dbsizeinuse = directory_size(s->opt.store_dir);
    out.leader = SERVE_MEMBER_ID;
    out.raftindex = out.raftappliedindex = (uint64_t)revision;
    out.raftterm = 1;
    out.errors = errors;
    out.n_errors = trouble ? 1 : 0;
    grpc_answer(c, &out.base);
}

/* An alarm is what the store's trouble would be in etcd; it passes by itself. */
void serve_alarm(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    Etcdserverpb__AlarmResponse out = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    Etcdserverpb__AlarmMember alarm = ETCDSERVERPB__ALARM_MEMBER__INIT, *alarms[] = {&alarm};
    const char *trouble = kv_trouble(serve_of(c)->kv);

    (void)request;
    alarm.memberid = SERVE_MEMBER_ID;
    if (trouble && strstr(trouble, "no space"))
        alarm.alarm = ALARM_NO_SPACE;
    else if (trouble && strstr(trouble, "damaged"))
        alarm.alarm = ALARM_CORRUPT;
    out.header = serve_header(serve_of(c), c->arena, kv_revision(serve_of(c)->kv));
    out.alarms = alarms;
    out.n_alarms = alarm.alarm != 0;
    grpc_answer(c, &out.base);
}

void serve_defragment(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    Etcdserverpb__DefragmentResponse out = ETCDSERVERPB__DEFRAGMENT_RESPONSE__INIT;

    (void)request; /* the store gives back what is free by itself */
    out.header = serve_header(serve_of(c), c->arena, kv_revision(serve_of(c)->kv));
    grpc_answer(c, &out.base);
}

void serve_move_leader(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    (void)request; /* there is nobody to move to */
    grpc_end(c, GRPC_FAILED_PRECONDITION, "etcdserver: bad leader transferee");
}

/* ---- hashes ---- */

struct hashing {
    struct grpc_incoming *call;
    int64_t revision, compacted;
    bool of_backend;
    uint32_t hash;
    int rc;
    struct err err;
};

static void hash_work(void *arg)
{
    struct hashing *h = arg;
    struct backend *b = NULL;

    h->rc = backend_open(serve_of(h->call)->kv, NULL, h->revision, &b, &h->err);
    if (h->rc == 0) {
        h->compacted = backend_compacted(b);
        h->rc = backend_hash(b, &h->hash, &h->err);
    }
    backend_close(b);
}

static void hash_done(void *arg)
{
    struct hashing *h = arg;
    struct grpc_incoming *c = h->call;
    struct serve_etcd *s = serve_of(c);

    if (h->rc < 0) {
        serve_fail(c, &h->err);
    } else if (h->of_backend) {
        Etcdserverpb__HashResponse out = ETCDSERVERPB__HASH_RESPONSE__INIT;

        out.header = serve_header(s, c->arena, kv_revision(s->kv));
        out.hash = h->hash;
        grpc_answer(c, &out.base);
    } else {
        Etcdserverpb__HashKVResponse out = ETCDSERVERPB__HASH_KVRESPONSE__INIT;

        out.header = serve_header(s, c->arena, kv_revision(s->kv));
        out.hash = h->hash;
        out.compact_revision = h->compacted ? h->compacted : -1;
        grpc_answer(c, &out.base);
    }
    serve_finished(c);
    free(h);
}

static void hash(struct grpc_incoming *c, int64_t revision, bool of_backend)
{
    struct hashing *h = MEM_NEW(struct hashing);

    *h = (struct hashing){.call = c, .revision = revision, .of_backend = of_backend};
    serve_begin(c);
    loop_work(c->loop, hash_work, hash_done, h);
}

/* Of all that is retained: what else stands in an etcd's file (members, users) is not kept here. */
void serve_hash(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    (void)request;
    hash(c, 0, true);
}

void serve_hash_kv(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__HashKVRequest *q = (const void *)request;

    hash(c, q->revision > 0 ? q->revision : 0, false);
}
