/* The contract of kv, held against every store there is: the model, memory, RocksDB, and etcd in its versions. */
#include "storage/kv/contract_for_test.h"
#include "storage/kv/etcd/server_for_test.h"
#include "storage/kv/model/model.h"

#if defined(__SANITIZE_THREAD__)
/* RocksDB itself is not built for the sanitizer, which cannot see how its writers hand over to each other. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:rocksdb::\n";
}
#endif

static char dir[] = "/tmp/skiff-kv-test-XXXXXX";
static struct etcd_server etcd;

static struct kv *opened(int rc, struct kv *const *kv)
{
    if (rc < 0)
        fail_msg("%s", err.message);
    return *kv;
}

static struct kv *open_model(void)
{
    struct kv *kv;
    return opened(kv_open_model(&kv, &err), &kv);
}

static struct kv *open_memory(void)
{
    struct kv *kv;
    return opened(kv_open_memory(&kv, &err), &kv);
}

static struct kv *reopen_rocksdb(void)
{
    struct kv *kv;
    struct kv_rocksdb_options opt = {.dir = dir};
    return opened(kv_open_rocksdb(&opt, &kv, &err), &kv);
}

static struct kv *open_rocksdb(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    return reopen_rocksdb();
}

static struct kv *reopen_etcd(void)
{
    struct kv *kv;
    return opened(kv_open_etcd_text(etcd.url, &kv, &err), &kv);
}

static struct kv *open_etcd(void)
{
    etcd_server_remove(&etcd);
    etcd_server_start(&etcd);
    return reopen_etcd();
}

static int etcd_over(void **state)
{
    (void)state;
    etcd_server_remove(&etcd);
    return 0;
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    int failed = contract_run(&(struct contract){.name = "model", .open_new = open_model});
    failed += contract_run(&(struct contract){.name = "memory", .open_new = open_memory});
    failed += contract_run(&(struct contract){.name = "rocksdb", .open_new = open_rocksdb, .reopen = reopen_rocksdb});
    int n_etcds = 0;
    for (char name[64]; etcd_next(); n_etcds++) {
        snprintf(name, sizeof name, "etcd %s", etcd_version);
        failed += contract_run(&(struct contract){
            .name = name, .open_new = open_etcd, .reopen = reopen_etcd, .remote = true, .over = etcd_over});
    }
    if (!n_etcds)
        print_message("etcd is not installed: its part of the contract is left out\n");
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) != 0 ? 1 : failed;
}
