#include "storage/kv/model/fault_disk.hh"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace rocksdb;

namespace
{

/* RocksDB hands on what it read in ways that the thread sanitizer cannot see: nor may it see the reading. */
#if defined(__SANITIZE_THREAD__)
__attribute__((no_sanitize("thread"))) void copy_out(char *to, const char *from, size_t n)
{
    for (volatile size_t i = 0; i < n; i = i + 1)
        to[i] = from[i];
}
#else
void copy_out(char *to, const char *from, size_t n)
{
    memcpy(to, from, n);
}
#endif

class Sequential : public FSSequentialFile
{
    fault_env *d;
    std::string path;
    File file;
    size_t at = 0;

  public:
    Sequential(fault_env *disk, const std::string &p, File f) : d(disk), path(p), file(std::move(f))
    {
    }
    IOStatus Read(size_t n, const IOOptions &, Slice *result, char *scratch, IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        bool half;
        IOStatus s = d->admit(FAULT_READ, path, &half);
        *result = Slice();
        if (!s.ok())
            return s;
        n = std::min(n, file->data.size() - at);
        copy_out(scratch, file->data.data() + at, n);
        *result = Slice(scratch, n);
        at += n;
        return s;
    }
    IOStatus Skip(uint64_t n) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        at = std::min(at + static_cast<size_t>(n), file->data.size());
        return IOStatus::OK();
    }
};

class Random : public FSRandomAccessFile
{
    fault_env *d;
    std::string path;
    File file;

  public:
    Random(fault_env *disk, const std::string &p, File f) : d(disk), path(p), file(std::move(f))
    {
    }
    IOStatus Read(uint64_t offset, size_t n, const IOOptions &, Slice *result, char *scratch,
                  IODebugContext *) const override
    {
        d->dawdle();
        std::lock_guard<std::mutex> g(d->lock);
        bool half;
        IOStatus s = d->admit(FAULT_READ, path, &half);
        *result = Slice();
        if (!s.ok() || offset >= file->data.size())
            return s;
        n = std::min(n, file->data.size() - static_cast<size_t>(offset));
        copy_out(scratch, file->data.data() + offset, n);
        *result = Slice(scratch, n);
        return s;
    }
};

class Writable : public FSWritableFile
{
    fault_env *d;
    std::string path;
    File file;
    int mirror;

  public:
    Writable(fault_env *disk, const std::string &p, File f) : d(disk), path(p), file(std::move(f))
    {
        mirror = open_mirror(path, O_APPEND | (file->data.empty() ? O_CREAT | O_TRUNC : 0));
    }
    ~Writable() override
    {
        if (mirror >= 0)
            close(mirror);
    }
    void grow(const char *p, size_t n)
    {
        file->data.append(p, n);
        write_mirror(mirror, p, n);
    }
    using FSWritableFile::Append;
    IOStatus Append(const Slice &data, const IOOptions &, IODebugContext *) override
    {
        d->dawdle();
        std::lock_guard<std::mutex> g(d->lock);
        bool half;
        IOStatus s = d->admit(FAULT_APPEND, path, &half);
        if (s.ok())
            grow(data.data(), data.size());
        else if (half)
            grow(data.data(), d->below(data.size() + 1));
        return s;
    }
    IOStatus Truncate(uint64_t size, const IOOptions &, IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        if (d->frozen)
            return IOStatus::IOError("the machine is down");
        if (size < file->data.size())
            file->data.resize(size);
        if (mirror >= 0 && ftruncate(mirror, static_cast<off_t>(file->data.size())) < 0)
            abort();
        file->synced = std::min(file->synced, file->data.size());
        return IOStatus::OK();
    }
    IOStatus Close(const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    IOStatus Flush(const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    IOStatus Sync(const IOOptions &, IODebugContext *) override
    {
        d->dawdle();
        std::lock_guard<std::mutex> g(d->lock);
        bool half;
        IOStatus s = d->admit(FAULT_SYNC, path, &half);
        if (!s.ok() && half && !d->frozen)
            file->lost.emplace_back(file->synced, file->data.size());
        if (s.ok() || (half && d->below(2))) {
            file->synced = file->data.size();
            d->settle_creation(file);
        }
        return s;
    }
    bool IsSyncThreadSafe() const override
    {
        return true;
    }
    uint64_t GetFileSize(const IOOptions &, IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        return file->data.size();
    }
};

class Directory : public FSDirectory
{
    fault_env *d;

  public:
    explicit Directory(fault_env *disk) : d(disk)
    {
    }
    IOStatus Fsync(const IOOptions &, IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        bool half;
        IOStatus s = d->admit(FAULT_DIR_SYNC, "", &half);
        if (s.ok() || (half && d->below(2)))
            d->settle_names();
        return s;
    }
    IOStatus Close(const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
};

class Silence : public Logger
{
  public:
    using Logger::Logv;
    void Logv(const char *, va_list) override
    {
    }
    size_t GetLogFileSize() const override
    {
        return 0;
    }
};

class Files : public FileSystem
{
    fault_env *d;

    IOStatus find(const std::string &path, File *ret)
    {
        auto at = d->live.find(path);
        if (at == d->live.end())
            return IOStatus::PathNotFound(path);
        *ret = at->second;
        return IOStatus::OK();
    }

    template <class T, class Base> IOStatus open(const std::string &path, std::unique_ptr<Base> *result)
    {
        std::lock_guard<std::mutex> g(d->lock);
        File file;
        bool half;
        IOStatus s = d->admit(FAULT_READ, path, &half);
        if (s.ok())
            s = find(path, &file);
        if (s.ok()) {
            d->adopt(path, *file);
            result->reset(new T(d, path, file));
        }
        return s;
    }

  public:
    explicit Files(fault_env *disk) : d(disk)
    {
    }
    const char *Name() const override
    {
        return "FaultFiles";
    }
    IOStatus NewSequentialFile(const std::string &path, const FileOptions &, std::unique_ptr<FSSequentialFile> *result,
                               IODebugContext *) override
    {
        return open<Sequential>(path, result);
    }
    IOStatus NewRandomAccessFile(const std::string &path, const FileOptions &,
                                 std::unique_ptr<FSRandomAccessFile> *result, IODebugContext *) override
    {
        return open<Random>(path, result);
    }
    IOStatus NewWritableFile(const std::string &path, const FileOptions &, std::unique_ptr<FSWritableFile> *result,
                             IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        bool half;
        IOStatus s = d->admit(FAULT_CREATE, path, &half);
        if (!s.ok() && !(half && d->below(2)))
            return s;
        auto file = std::make_shared<Inode>();
        d->change({NameChange::create, path, "", file});
        std::unique_ptr<FSWritableFile> opened(new Writable(d, path, file)); /* is there, also when nobody is told */
        if (s.ok())
            *result = std::move(opened);
        return s;
    }
    IOStatus ReopenWritableFile(const std::string &path, const FileOptions &, std::unique_ptr<FSWritableFile> *result,
                                IODebugContext *) override
    {
        return open<Writable>(path, result);
    }
    IOStatus NewDirectory(const std::string &, const IOOptions &, std::unique_ptr<FSDirectory> *result,
                          IODebugContext *) override
    {
        result->reset(new Directory(d));
        return IOStatus::OK();
    }
    IOStatus FileExists(const std::string &path, const IOOptions &, IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        if (d->frozen)
            return IOStatus::IOError("the machine is down");
        return d->live.count(path) ? IOStatus::OK() : IOStatus::NotFound(path);
    }
    IOStatus GetChildren(const std::string &dir, const IOOptions &, std::vector<std::string> *result,
                         IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        result->clear();
        if (d->frozen)
            return IOStatus::IOError("the machine is down");
        for (auto &entry : d->live)
            if (entry.first.compare(0, dir.size(), dir) == 0 && entry.first[dir.size()] == '/' &&
                entry.first.find('/', dir.size() + 1) == std::string::npos)
                result->push_back(entry.first.substr(dir.size() + 1));
        return IOStatus::OK();
    }
    IOStatus DeleteFile(const std::string &path, const IOOptions &, IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        bool half;
        File file;
        IOStatus s = d->admit(FAULT_NAMES, path, &half), found = find(path, &file);
        if ((s.ok() || (half && d->below(2))) && found.ok())
            d->change({NameChange::remove, path, "", file});
        return s.ok() ? found : s;
    }
    IOStatus RenameFile(const std::string &from, const std::string &to, const IOOptions &, IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        bool half;
        File file;
        IOStatus s = d->admit(FAULT_NAMES, to, &half), found = find(from, &file);
        if ((s.ok() || (half && d->below(2))) && found.ok())
            d->change({NameChange::rename, from, to, file});
        return s.ok() ? found : s;
    }
    IOStatus CreateDir(const std::string &, const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    IOStatus CreateDirIfMissing(const std::string &, const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    IOStatus DeleteDir(const std::string &, const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    IOStatus GetFileSize(const std::string &path, const IOOptions &, uint64_t *size, IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        File file;
        IOStatus s = d->frozen ? IOStatus::IOError("the machine is down") : find(path, &file);
        if (s.ok())
            d->adopt(path, *file);
        *size = s.ok() ? file->data.size() : 0;
        return s;
    }
    IOStatus GetFileModificationTime(const std::string &, const IOOptions &, uint64_t *time, IODebugContext *) override
    {
        *time = 0;
        return IOStatus::OK();
    }
    IOStatus LockFile(const std::string &, const IOOptions &, FileLock **lock, IODebugContext *) override
    {
        *lock = new FileLock;
        return IOStatus::OK();
    }
    IOStatus UnlockFile(FileLock *lock, const IOOptions &, IODebugContext *) override
    {
        delete lock;
        return IOStatus::OK();
    }
    IOStatus GetTestDirectory(const IOOptions &, std::string *path, IODebugContext *) override
    {
        *path = "/test";
        return IOStatus::OK();
    }
    IOStatus NewLogger(const std::string &, const IOOptions &, std::shared_ptr<Logger> *result,
                       IODebugContext *) override
    {
        *result = std::make_shared<Silence>();
        return IOStatus::OK();
    }
    IOStatus GetAbsolutePath(const std::string &path, const IOOptions &, std::string *result, IODebugContext *) override
    {
        *result = path;
        return IOStatus::OK();
    }
    IOStatus IsDirectory(const std::string &path, const IOOptions &, bool *is_dir, IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        *is_dir = !d->live.count(path);
        return IOStatus::OK();
    }
    IOStatus GetFreeSpace(const std::string &, const IOOptions &, uint64_t *free, IODebugContext *) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        *free = d->rule.times && d->rule.no_space ? 0 : 1u << 30;
        return IOStatus::OK();
    }
};

/* Jobs in one queue, run by one thread. */
class OneByOne : public EnvWrapper
{
    fault_env *d;

  public:
    OneByOne(std::unique_ptr<Env> &&base, fault_env *disk) : EnvWrapper(std::move(base)), d(disk)
    {
        file_system_ = target()->GetFileSystem();
    }
    void Schedule(void (*fn)(void *), void *arg, Priority priority, void *tag, void (*cancelled)(void *)) override
    {
        std::lock_guard<std::mutex> g(d->lock);
        d->jobs.push_back({fn, arg, tag, cancelled, priority == HIGH});
        d->jobs_changed.notify_all();
    }
    int UnSchedule(void *tag, Priority) override
    {
        std::vector<fault_env::Job> out;
        {
            std::lock_guard<std::mutex> g(d->lock);
            for (size_t i = 0; i < d->jobs.size();)
                if (d->jobs[i].tag == tag) {
                    out.push_back(d->jobs[i]);
                    d->jobs.erase(d->jobs.begin() + static_cast<ptrdiff_t>(i));
                } else {
                    i++;
                }
        }
        for (auto &job : out)
            if (job.cancelled)
                job.cancelled(job.arg);
        return static_cast<int>(out.size());
    }
    void IncBackgroundThreadsIfNeeded(int, Priority) override /* none but ours */
    {
    }
    void SleepForMicroseconds(int) override /* it does after an error, for a second */
    {
        sched_yield();
    }
    unsigned int GetThreadPoolQueueLen(Priority) const override
    {
        return 0;
    }
};

} // namespace

/* The first that may run. */
bool fault_env::take_job(bool stalled, Job *ret)
{
    bool any = pumping || stalled || frozen || allowed == FAULT_JOBS_RUN; /* down, they change nothing */
    for (auto job = jobs.begin(); job != jobs.end(); ++job)
        if (any || (allowed == FAULT_JOBS_FLUSH && job->urgent)) {
            *ret = *job;
            jobs.erase(job);
            return true;
        }
    return false;
}

void fault_env::work()
{
    std::unique_lock<std::mutex> g(lock);
    bool stalled = false;
    for (;;) {
        Job job;
        if (!take_job(stalled, &job)) {
            if (over)
                return;
            stalled = jobs_changed.wait_for(g, std::chrono::seconds(1)) == std::cv_status::timeout && !jobs.empty();
            if (stalled && trace)
                fprintf(stderr, "    a job runs by itself\n");
            continue;
        }
        stalled = false;
        running = true;
        g.unlock();
        job.fn(job.arg);
        g.lock();
        running = false;
        jobs_changed.notify_all();
    }
}

struct fault_env *fault_env_create(uint64_t seed, const char *dir)
{
    auto *d = new fault_env;

    d->dir = dir;
    d->random = seed;
    d->env.reset(new OneByOne(NewCompositeEnv(std::make_shared<Files>(d)), d));
    d->handle = {d->env.get(), false};
    d->worker = std::thread([d] { d->work(); });
    return d;
}

void fault_env_destroy(struct fault_env *d)
{
    if (!d)
        return;
    {
        std::lock_guard<std::mutex> g(d->lock);
        d->over = true;
        d->allowed = FAULT_JOBS_RUN;
        d->jobs_changed.notify_all();
    }
    d->worker.join();
    delete d;
}

struct rocksdb_env_t *fault_env_rocksdb(struct fault_env *d)
{
    return &d->handle;
}

void fault_env_jobs(struct fault_env *d, enum fault_jobs jobs)
{
    std::lock_guard<std::mutex> g(d->lock);
    d->allowed = jobs;
    d->jobs_changed.notify_all();
}

void fault_env_pump(struct fault_env *d)
{
    std::unique_lock<std::mutex> g(d->lock);
    d->pumping = true;
    d->jobs_changed.notify_all();
    d->jobs_changed.wait(g, [d] { return d->jobs.empty() && !d->running; });
    d->pumping = false;
}
