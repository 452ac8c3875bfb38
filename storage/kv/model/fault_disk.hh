/* The inside of fault_env, in C++: fault_disk.cc is the disk and what befalls it, fault_env.cc what RocksDB sees of it.
 */
#ifndef SKIFF_STORAGE_KV_MODEL_FAULT_DISK_HH
#define SKIFF_STORAGE_KV_MODEL_FAULT_DISK_HH

#include "storage/kv/model/fault_env.h"

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

/* As the C interface defines it. */
struct rocksdb_env_t {
    rocksdb::Env *rep;
    bool is_default;
};

struct Inode {
    std::string data;
    size_t synced = 0;
    std::vector<std::pair<size_t, size_t>> lost; /* by failed syncs: from, to */
};
using File = std::shared_ptr<Inode>;
using Names = std::map<std::string, File>;

struct NameChange {
    enum Kind { create, rename, remove } kind;
    std::string name, to;
    File file;
};

/* The directory's copy of a file; -1: tables and blobs have none. */
int open_mirror(const std::string &path, int flags);
void write_mirror(int fd, const char *p, size_t n);

/* Everything in it is under the one lock. */
struct fault_env {
    std::mutex lock;
    std::string dir, note; /* note: how the file "synced" was at the crash before */
    uint64_t random;
    Names live, durable;
    std::vector<NameChange> changes; /* what no directory sync has covered */
    bool frozen = false, trace = getenv("SKIFF_TRACE") != nullptr;
    uint32_t crash_after = 0, longest_delay_us = 0;
    fault_rule rule = {};

    /* background jobs */
    struct Job {
        void (*fn)(void *), *arg, *tag;
        void (*cancelled)(void *);
        bool urgent;
    };
    std::deque<Job> jobs;
    std::condition_variable jobs_changed;
    fault_jobs allowed = FAULT_JOBS_RUN;
    bool pumping = false, running = false, over = false;
    std::thread worker;

    std::unique_ptr<rocksdb::Env> env;
    rocksdb_env_t handle;

    uint64_t draw()
    {
        uint64_t z = random += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
    }
    size_t below(size_t n)
    {
        return n ? static_cast<size_t>(draw() % n) : 0;
    }

    rocksdb::IOStatus failure();
    /* Whether the call may do its work; on the brink of the crash half of it may still happen (*half). */
    rocksdb::IOStatus admit(unsigned call, const std::string &path, bool *half);
    static const char *name_of(unsigned call);
    rocksdb::IOStatus decide(unsigned call, const std::string &path, bool *half);
    void dawdle(); /* without the lock */
    void settle_names();
    /* A new file that is synced has its name: journals write it with the rest, and RocksDB relies on that. */
    void settle_creation(const File &file);
    static void apply(Names &names, const NameChange &c);
    void change(const NameChange &c);
    /* Somebody may have cut the file's copy in the directory, and synced that. */
    void adopt(const std::string &path, Inode &file);
    /* Brings the directory to what is live, and leaves what is written there without a sync as old as it may be. */
    void mirror();
    void age_note();
    void garble(std::string &data, size_t from, size_t to);
    File after_crash(const Inode &before);
    void restart(bool power_lost);
    void work();
    bool take_job(bool stalled, Job *ret);
};

#endif
