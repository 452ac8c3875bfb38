#include "storage/kv/model/fault_disk.hh"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

using rocksdb::IOStatus;

static const size_t sector = 512;

static unsigned kind_of(const std::string &path)
{
    std::string name = path.substr(path.rfind('/') + 1);
    auto ends = [&](const char *suffix) {
        size_t n = strlen(suffix);
        return name.size() >= n && name.compare(name.size() - n, n, suffix) == 0;
    };

    if (ends(".log"))
        return FAULT_LOG;
    if (ends(".sst"))
        return FAULT_TABLE;
    if (ends(".blob"))
        return FAULT_BLOB;
    if (name.compare(0, 8, "MANIFEST") == 0)
        return FAULT_MANIFEST;
    return FAULT_OTHER;
}

/* Tables and blobs are read through RocksDB only. */
static bool is_mirrored(const std::string &path)
{
    return !(kind_of(path) & (FAULT_TABLE | FAULT_BLOB));
}

int open_mirror(const std::string &path, int flags)
{
    return is_mirrored(path) ? open(path.c_str(), flags | O_WRONLY | O_CLOEXEC, 0600) : -1;
}

void write_mirror(int fd, const char *p, size_t n)
{
    if (fd >= 0 && write(fd, p, n) != static_cast<ssize_t>(n))
        abort();
}

IOStatus fault_env::failure()
{
    if (!rule.no_space)
        return IOStatus::IOError("injected");
    IOStatus s = IOStatus::NoSpace("No space left on device");
    s.SetRetryable(true); /* as the real one has it */
    return s;
}

IOStatus fault_env::admit(unsigned call, const std::string &path, bool *half)
{
    IOStatus s = decide(call, path, half);
    if (trace && (call != FAULT_READ || !s.ok()))
        fprintf(stderr, "    %s %s%s\n", name_of(call), path.c_str() + path.rfind('/') + 1,
                s.ok()   ? ""
                : *half  ? " fails, half done"
                : frozen ? " (down)"
                         : " fails");
    return s;
}

const char *fault_env::name_of(unsigned call)
{
    return call == FAULT_CREATE     ? "create"
           : call == FAULT_APPEND   ? "append"
           : call == FAULT_SYNC     ? "sync"
           : call == FAULT_READ     ? "read"
           : call == FAULT_NAMES    ? "rename, delete"
           : call == FAULT_DIR_SYNC ? "sync names"
                                    : "?";
}

IOStatus fault_env::decide(unsigned call, const std::string &path, bool *half)
{
    *half = false;
    if (frozen)
        return IOStatus::IOError("the machine is down");
    if ((call & FAULT_CHANGES) && crash_after && --crash_after == 0) {
        frozen = true;
        jobs_changed.notify_all();
        *half = true;
        return IOStatus::IOError("the machine went down");
    }
    if (!(rule.calls & call) || !(rule.files & kind_of(path)))
        return IOStatus::OK();
    if (rule.skip) {
        rule.skip--;
        return IOStatus::OK();
    }
    if (!rule.times)
        return IOStatus::OK();
    if (rule.times != UINT32_MAX)
        rule.times--;
    *half = true;
    return failure();
}

void fault_env::dawdle()
{
    uint32_t longest, us;
    {
        std::lock_guard<std::mutex> g(lock);
        longest = longest_delay_us;
        us = longest && below(4) == 0 ? static_cast<uint32_t>(below(longest)) : 0;
    }
    if (us)
        usleep(us);
}

void fault_env::settle_names()
{
    for (auto &c : changes)
        apply(durable, c);
    changes.clear();
}

void fault_env::settle_creation(const File &file)
{
    for (size_t i = 0; i < changes.size(); i++)
        if (changes[i].kind == NameChange::create && changes[i].file == file) {
            std::string name = changes[i].name;
            apply(durable, changes[i]);
            changes.erase(changes.begin() + static_cast<ptrdiff_t>(i));
            while (i-- > 0) /* what the name was before is over */
                if (changes[i].name == name || changes[i].to == name)
                    changes.erase(changes.begin() + static_cast<ptrdiff_t>(i));
            break;
        }
}

void fault_env::apply(Names &names, const NameChange &c)
{
    if (c.kind == NameChange::create)
        names[c.name] = c.file;
    else if (c.kind == NameChange::remove)
        names.erase(c.name);
    else {
        names.erase(c.name);
        names[c.to] = c.file;
    }
}

void fault_env::change(const NameChange &c)
{
    apply(live, c);
    changes.push_back(c);
    if (c.kind == NameChange::rename)
        rename(c.name.c_str(), c.to.c_str());
    else if (c.kind == NameChange::remove && is_mirrored(c.name))
        unlink(c.name.c_str());
}

void fault_env::adopt(const std::string &path, Inode &file)
{
    struct stat st;

    if (!is_mirrored(path) || stat(path.c_str(), &st) < 0 || static_cast<size_t>(st.st_size) >= file.data.size())
        return;
    file.data.resize(static_cast<size_t>(st.st_size));
    file.synced = file.data.size();
}

void fault_env::mirror()
{
    DIR *list = opendir(dir.c_str());
    while (dirent *entry = list ? readdir(list) : nullptr) {
        std::string name = entry->d_name, path = dir + "/" + name;
        if (name[0] != '.' && name != "synced" && name != "lock")
            unlink(path.c_str());
    }
    if (list)
        closedir(list);
    for (auto &entry : live) {
        int fd = open_mirror(entry.first, O_CREAT | O_TRUNC);
        if (fd < 0)
            continue;
        write_mirror(fd, entry.second->data.data(), entry.second->data.size());
        close(fd);
    }
}

void fault_env::age_note()
{
    std::string path = dir + "/synced";
    char now[64];
    int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : pread(fd, now, sizeof now, 0);
    size_t fate = below(4);

    if (fd >= 0 && fate == 0) {
        unlink(path.c_str());
    } else if (fd >= 0 && fate == 1) {
        if (ftruncate(fd, 0) < 0 || pwrite(fd, note.data(), note.size(), 0) < 0)
            abort();
    } else if (fd >= 0 && fate == 2 && ftruncate(fd, static_cast<off_t>(below(20))) < 0) {
        abort();
    }
    note.assign(now, n > 0 ? static_cast<size_t>(n) : 0);
    if (fd >= 0)
        close(fd);
}

void fault_env::garble(std::string &data, size_t from, size_t to)
{
    bool zeros = below(2);
    for (size_t i = from; i < to; i++)
        data[i] = zeros ? 0 : static_cast<char>(draw());
}

File fault_env::after_crash(const Inode &before)
{
    auto after = std::make_shared<Inode>();
    size_t tail = before.data.size() - before.synced, kept = 0;
    uint64_t next = draw(); /* whatever is in it, the files after it meet the same fate */

    after->data = before.data;
    switch (below(5)) {
    case 0: /* nothing of it */
        break;
    case 1: /* all of it */
        kept = tail;
        break;
    case 2: /* cut anywhere */
        kept = below(tail + 1);
        break;
    case 3: /* of its length, but not all pages were written */
    case 4:
        kept = below(2) ? tail : below(tail + 1);
        for (size_t at = before.synced; at < before.synced + kept; at = (at / sector + 1) * sector)
            if (below(2))
                garble(after->data, at, std::min(before.synced + kept, (at / sector + 1) * sector));
        break;
    }
    after->data.resize(before.synced + kept);
    for (auto &range : before.lost)
        if (below(2) && range.first < after->data.size())
            garble(after->data, range.first, std::min(range.second, after->data.size()));
    after->synced = after->data.size();
    random = next;
    return after;
}

void fault_env::restart(bool power_lost)
{
    if (frozen && power_lost) {
        /* names: all changes up to some point, or any of them that do not build on one that was lost */
        std::set<std::string> spoilt;
        size_t upto = below(4) ? below(changes.size() + 1) : SIZE_MAX;
        for (size_t i = 0; i < changes.size(); i++) {
            const NameChange &c = changes[i];
            bool happened = upto == SIZE_MAX ? below(2) != 0 : i < upto;
            if (happened && !spoilt.count(c.name) && !spoilt.count(c.to)) {
                apply(durable, c);
            } else {
                spoilt.insert(c.name);
                if (c.kind == NameChange::rename)
                    spoilt.insert(c.to);
            }
        }
        live.clear();
        for (auto &entry : durable)
            live[entry.first] = after_crash(*entry.second);
        durable = live;
        changes.clear();
        age_note();
    }
    if (frozen)
        mirror();
    frozen = false;
    crash_after = 0;
    rule = {};
    longest_delay_us = 0;
}

void fault_env_fail(struct fault_env *d, const struct fault_rule *rule)
{
    std::lock_guard<std::mutex> g(d->lock);
    d->rule = *rule;
}

void fault_env_heal(struct fault_env *d)
{
    std::lock_guard<std::mutex> g(d->lock);
    d->rule = {};
}

void fault_env_delay(struct fault_env *d, uint32_t longest_us)
{
    std::lock_guard<std::mutex> g(d->lock);
    d->longest_delay_us = longest_us;
}

void fault_env_freeze(struct fault_env *d)
{
    std::lock_guard<std::mutex> g(d->lock);
    d->frozen = true;
    d->jobs_changed.notify_all();
}

void fault_env_crash_after(struct fault_env *d, uint32_t n_changes)
{
    std::lock_guard<std::mutex> g(d->lock);
    d->crash_after = n_changes;
}

bool fault_env_frozen(struct fault_env *d)
{
    std::lock_guard<std::mutex> g(d->lock);
    return d->frozen;
}

void fault_env_restart(struct fault_env *d, bool power_lost)
{
    std::lock_guard<std::mutex> g(d->lock);
    d->restart(power_lost);
}

bool fault_env_rot(struct fault_env *d)
{
    std::lock_guard<std::mutex> g(d->lock);
    std::vector<File> files;
    for (auto &entry : d->live)
        if ((kind_of(entry.first) & (FAULT_TABLE | FAULT_BLOB)) && !entry.second->data.empty())
            files.push_back(entry.second);
    if (files.empty())
        return false;
    std::string &data = files[d->below(files.size())]->data;
    data[d->below(data.size())] ^= static_cast<char>(1 << d->below(8));
    return true;
}
