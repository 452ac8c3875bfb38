/* skiff snapshot: the whole cluster in a file: save, restore, status; export. */
#include "cmd/snapshot.h"

#include "base/clock.h"
#include "cmd/options.h"
#include "openapi/json.h"
#include "openapi/meta/time.h"
#include "storage/snapshot/restore.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- for people ---- */

static struct str size_text(struct arena *a, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes;
    size_t unit = 0;
    for (; n >= 1024 && unit < 4; unit++)
        n /= 1024;
    return unit ? arena_printf(a, "%.1f %s", n, units[unit]) : arena_printf(a, "%.0f %s", n, units[unit]);
}

struct progress {
    const char *verb;
    int64_t began_ms, told_ms;
    bool terminal, shown;
};

static struct progress progress_begin(const char *verb)
{
    return (struct progress){
        .verb = verb, .began_ms = clock_mono_ms(), .told_ms = clock_mono_ms(), .terminal = isatty(2)};
}

/* From the first second on, a few times a second; where nobody looks at a terminal, a line every five. */
static void progress_show(void *arg, uint64_t bytes)
{
    struct progress *p = arg;
    int64_t now = clock_mono_ms();
    if (now - p->began_ms < 1000 || now - p->told_ms < (p->terminal ? 200 : 5000))
        return;
    double seconds = (double)(now - p->began_ms) / 1000, mib = (double)bytes / 1048576;
    fprintf(stderr, p->terminal ? "\r%s: %.1f MiB, %.1f MiB/s \033[K" : "%s: %.1f MiB, %.1f MiB/s\n", p->verb, mib,
            mib / seconds);
    p->told_ms = now;
    p->shown = p->terminal;
}

static void progress_bump(void *arg, int64_t done, int64_t all)
{
    struct progress *p = arg;
    int64_t now = clock_mono_ms();
    if (!p->terminal || now - p->began_ms < 1000 || now - p->told_ms < 200)
        return;
    fprintf(stderr, "\rreaching the former cluster's revision: %lld of %lld \033[K", (long long)done, (long long)all);
    p->told_ms = now;
    p->shown = true;
}

static void progress_end(struct progress *p)
{
    if (p->shown)
        fprintf(stderr, "\r\033[K");
}

/* ---- save ---- */

static int pack_identities(const char *dir, const char *config, struct buf *out, struct err *err)
{
    struct snapshot_identities ids;
    struct arena *a = arena_create(0);
    int rc = identities_read(a, dir, config, &ids, err);
    if (rc == 0)
        identities_pack(&ids, out);
    arena_destroy(a);
    return rc;
}

static int save_from_directory(const char *dir, const char *config, bool identities, const char *path,
                               struct progress *progress, struct arena *a, struct snapshot_summary *ret,
                               struct err *err)
{
    struct str store = arena_printf(a, "%s/store", dir);
    struct kv_rocksdb_options opt = {.dir = store.p};
    struct crypt *crypt = NULL;
    struct kv *kv = NULL;
    struct buf packed = {0};
    struct stat st;
    if (stat(store.p, &st) < 0)
        return err_set(err, ERR_NOT_FOUND, "%s holds no store", dir);
    int rc = crypt_open(dir, config, false, &crypt, err);
    if (rc == 0)
        rc = kv_open_rocksdb(&opt, &kv, err);
    if (rc == ERR_BUSY)
        err_set(err, ERR_BUSY, "%s is in use by a running server: ask that one, with --kubeconfig %s/admin.kubeconfig",
                dir, dir);
    if (rc == 0) {
        crypt_install(crypt, kv);
        rc = identities ? pack_identities(dir, config, &packed, err) : 0;
    }
    if (rc == 0)
        rc = snapshot_save(kv, crypt, buf_str(&packed), path, progress_show, progress, NULL, a, ret, err);
    buf_free(&packed);
    kv_close(kv);
    crypt_destroy(crypt);
    return rc;
}

static const struct command save;

static int run_save(int argc, char **argv)
{
    const char *kubeconfig = NULL, *dir = NULL, *config = NULL;
    bool identities = false;
    int n, exit_code;
    const struct option_spec specs[] = {
        {.name = "kubeconfig",
         .kind = OPTION_STRING,
         .value = &kubeconfig,
         .argument = "FILE",
         .help = "of the running server ($KUBECONFIG, ~/.kube/config)"},
        {.name = "data-dir",
         .kind = OPTION_STRING,
         .value = &dir,
         .argument = "DIR",
         .help = "of a server that is not running, in place of asking one"},
        {.name = "encryption-provider-config",
         .kind = OPTION_STRING,
         .value = &config,
         .argument = "FILE",
         .help = "with --data-dir: the keys, when the server was given this"},
        {.name = "with-identities",
         .kind = OPTION_BOOL,
         .value = &identities,
         .help = "also the cluster's CA and keys (DIR/pki): the file then opens everything; guard it"},
        {0},
    };
    if (options_parse(&save, specs, argc, argv, 1, &n, &exit_code) < 0)
        return exit_code;
    if (n != 1 || (kubeconfig && dir)) {
        command_fail(&save, n != 1 ? "name the file to write: skiff snapshot save FILE"
                                   : "give one of --kubeconfig and --data-dir");
        return 2;
    }
    struct arena *a = arena_create(0);
    struct snapshot_summary s;
    struct err err = ERR_INIT;
    struct progress p = progress_begin("saving");
    signal(SIGPIPE, SIG_IGN);
    int rc = dir ? save_from_directory(dir, config, identities, argv[1], &p, a, &s, &err)
                 : snapshot_download(kubeconfig, identities, argv[1], progress_show, &p, a, &s, &err);
    progress_end(&p);
    if (rc < 0)
        command_fail(&save, "%s", err.message);
    else
        printf("%s: revision %lld, %lld entries%s, " STR_FMT ", %lld ms\n", argv[1], (long long)s.head.revision,
               (long long)s.n_entries, s.identities.n ? " and the cluster's identities" : "",
               STR_ARG(size_text(a, s.size)), (long long)(clock_mono_ms() - p.began_ms));
    arena_destroy(a);
    return rc < 0;
}

static const struct command save = {"snapshot save", "FILE [--kubeconfig FILE | --data-dir DIR]",
                                    "write a snapshot of a whole cluster to a file", run_save};

/* ---- restore ---- */

static const struct command restore;

static void print_restored(const struct snapshot_restore *opt, const struct snapshot_summary *s, int64_t left_out)
{
    const char *to = opt->store ? opt->store : opt->data_dir;
    printf("%s: %lld entries of revision %lld are restored and continue at revision %lld\n", to,
           (long long)(s->n_entries - left_out), (long long)s->head.revision,
           (long long)(s->head.revision + (opt->store ? opt->revision_bump : SNAPSHOT_REVISION_BUMP)));
    for (size_t i = 0; i < s->n_left_out; i++)
        printf("left out: %lld of " STR_FMT "\n", (long long)s->left_out[i].n, STR_ARG(s->left_out[i].name));
    if (left_out && !opt->from_etcd)
        printf("%lld sealed values are left out, their keys not being there\n", (long long)left_out);
    if (s->identities.n && opt->data_dir)
        printf("the cluster's identities are in %s/pki: nodes, kubeconfigs and tokens go on\n", opt->data_dir);
    else if (!opt->from_etcd && !opt->store)
        printf("the file holds no identities: for nodes, kubeconfigs and tokens of pods to go on, copy the former "
               "cluster's pki/ca.crt, ca.key, sa.key, admin.* and agent-client.* to %s/pki before the first start\n",
               opt->data_dir);
    if (opt->store)
        printf("start servers with: skiff server --store etcd=%s --data-dir %s\n", opt->store,
               opt->data_dir ? opt->data_dir : "DIR");
    else
        printf("start it with: skiff server --data-dir %s\n", opt->data_dir);
}

static bool restore_fits(const struct snapshot_restore *opt, int n)
{
    if (n != 1)
        command_fail(&restore, "name the file to restore: skiff snapshot restore FILE --data-dir DIR");
    else if (opt->store && strncmp(opt->store, "etcd=", 5) != 0)
        command_fail(&restore, "--store %s: use etcd=URL,…; without it a data directory is made", opt->store);
    else if (!opt->store && !opt->data_dir)
        command_fail(&restore, "say where to: --data-dir DIR or --store etcd=URL,…");
    else
        return true;
    return false;
}

static int run_restore(int argc, char **argv)
{
    struct snapshot_restore opt = {.revision_bump = SNAPSHOT_ETCD_REVISION_BUMP};
    int n, exit_code;
    const struct option_spec specs[] = {
        {.name = "data-dir",
         .kind = OPTION_STRING,
         .value = &opt.data_dir,
         .argument = "DIR",
         .help = "the new data directory; one with a store is refused"},
        {.name = "store",
         .kind = OPTION_STRING,
         .value = &opt.store,
         .argument = "etcd=URL,…",
         .help = "in place of that, an empty etcd; --data-dir then only has the keys"},
        {.name = "revision-bump",
         .kind = OPTION_INT,
         .value = &opt.revision_bump,
         .argument = "N",
         .min = 0,
         .max = 100000000,
         .help = "with --store: at most so many changes came after the snapshot (100000)"},
        {.name = "encryption-provider-config",
         .kind = OPTION_STRING,
         .value = &opt.encryption_config,
         .argument = "FILE",
         .help = "the former cluster's keys (DIR/" CRYPT_FILE ")"},
        {.name = "from-etcd",
         .kind = OPTION_BOOL,
         .value = &opt.from_etcd,
         .help = "FILE is one of `etcdctl snapshot save`: take a stock cluster over"},
        {.name = "without-sealed",
         .kind = OPTION_BOOL,
         .value = &opt.without_sealed,
         .help = "leave out what is sealed with a key that is lost"},
        {0},
    };
    if (options_parse(&restore, specs, argc, argv, 1, &n, &exit_code) < 0)
        return exit_code;
    if (!restore_fits(&opt, n))
        return 2;
    struct arena *a = arena_create(0);
    struct snapshot_summary s;
    struct err err = ERR_INIT;
    struct progress p = progress_begin("restoring");
    int64_t left_out = 0;
    opt.file = argv[1];
    opt.progress = progress_show;
    opt.progress_arg = &p;
    opt.bumping = progress_bump;
    if (opt.store)
        opt.store += strlen("etcd=");
    int rc = snapshot_restore(&opt, a, &s, &left_out, &err);
    progress_end(&p);
    if (rc < 0)
        command_fail(&restore, "%s", err.message);
    else
        print_restored(&opt, &s, left_out);
    arena_destroy(a);
    return rc < 0;
}

static const struct command restore = {"snapshot restore", "[--from-etcd] FILE --data-dir DIR | --store etcd=URL,…",
                                       "make a data directory from a snapshot, or fill an etcd", run_restore};

/* ---- status ---- */

static void print_json(struct arena *a, const struct snapshot_summary *s)
{
    struct value *v = value_map(a), *counts = value_map(a), *keys = value_map(a);
    struct buf out = {0};
    value_setz(a, v, "revision", value_int(a, s->head.revision));
    value_setz(a, v, "time", value_string(a, time_format(a, s->head.time_us)));
    value_setz(a, v, "program", value_stringz(a, s->head.program));
    value_setz(a, v, "size", value_int(a, (int64_t)s->size));
    value_setz(a, v, "sha256", value_stringz(a, s->sha256));
    value_setz(a, v, "entries", value_int(a, s->n_entries));
    struct value *identities = value_list(a);
    for (size_t i = 0; i < s->identities.n; i++)
        value_append(a, identities, value_string(a, s->identities.items[i].name));
    value_setz(a, v, "identities", identities);
    for (size_t i = 0; i < s->n_keys; i++)
        value_set(a, keys, s->keys[i].id, value_int(a, s->keys[i].n));
    value_setz(a, v, "sealed", keys);
    for (size_t i = 0; i < s->n_counts; i++)
        value_set(a, counts, s->counts[i].name, value_int(a, s->counts[i].n));
    value_setz(a, v, "counts", counts);
    json_encode_pretty(&out, v);
    printf("%.*s\n", (int)out.len, out.p);
    buf_free(&out);
}

static void print_text(struct arena *a, const char *file, const struct snapshot_summary *s)
{
    printf("File:      %s\n", file);
    printf("Revision:  %lld\n", (long long)s->head.revision);
    printf("Taken:     " STR_FMT " by %s\n", STR_ARG(time_format(a, s->head.time_us)), s->head.program);
    printf("Size:      " STR_FMT " (%llu bytes)\n", STR_ARG(size_text(a, s->size)), (unsigned long long)s->size);
    printf("Checksum:  sha256:%s\n", s->sha256);
    printf("Entries:   %lld\n", (long long)s->n_entries);
    for (size_t i = 0; i < s->n_keys; i++)
        printf("%s" STR_FMT " (%lld values)\n", i ? "           " : "Sealed by: ", STR_ARG(s->keys[i].id),
               (long long)s->keys[i].n);
    for (size_t i = 0; i < s->identities.n; i++)
        printf("%s" STR_FMT "%s", i ? ", " : "Identities: ", STR_ARG(s->identities.items[i].name),
               i + 1 < s->identities.n ? "" : "\n");
    printf("\n%-50s %10s %12s\n", "RESOURCE", "COUNT", "SIZE");
    for (size_t i = 0; i < s->n_counts; i++)
        printf("%-50.*s %10lld %12.*s\n", STR_ARG(s->counts[i].name), (long long)s->counts[i].n,
               STR_ARG(size_text(a, (uint64_t)s->counts[i].bytes)));
}

static const struct command status;

static int run_status(int argc, char **argv)
{
    const char *output = "text";
    int n, exit_code;
    const struct option_spec specs[] = {
        {.name = "output",
         .kind = OPTION_CHOICES,
         .value = &output,
         .argument = "text|json",
         .choices = "text,json",
         .help = "how to print it (text)"},
        {0},
    };
    if (options_parse(&status, specs, argc, argv, 1, &n, &exit_code) < 0)
        return exit_code;
    if (n != 1) {
        command_fail(&status, "name the file: skiff snapshot status FILE");
        return 2;
    }
    struct arena *a = arena_create(0);
    struct snapshot_summary s;
    struct err err = ERR_INIT;
    struct progress p = progress_begin("reading");
    int rc = snapshot_summarize(a, argv[1], progress_show, &p, &s, &err);
    progress_end(&p);
    if (rc < 0)
        command_fail(&status, "%s", err.message);
    else if (strcmp(output, "json") == 0)
        print_json(a, &s);
    else
        print_text(a, argv[1], &s);
    arena_destroy(a);
    return rc < 0;
}

static const struct command status = {"snapshot status", "FILE [--output text|json]",
                                      "check a snapshot and say what it holds", run_status};

/* ---- which ---- */

static const struct command *const kinds[] = {&save, &restore, &status, &snapshot_export};

static int run(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(argv[1], kinds[i]->name + strlen("snapshot ")) == 0)
            return kinds[i]->run(argc - 1, argv + 1);
    bool asked = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    FILE *out = asked ? stdout : stderr;
    if (argc > 1 && !asked)
        fprintf(out, "skiff snapshot: %s is not known: use save, restore, status or export\n", argv[1]);
    else
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            fprintf(out, "%s skiff %s %s\n", i ? "      " : "usage:", kinds[i]->name, kinds[i]->synopsis);
    return asked ? 0 : 2;
}

extern const struct command command_snapshot;
const struct command command_snapshot = {"snapshot", "save|restore|status|export FILE [flags]",
                                         "save a cluster to a file, restore it, look into it", run};
