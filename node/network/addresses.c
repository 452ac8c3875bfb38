#include "node/network/addresses.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWNER_MAX 256
#define PATH_SIZE 700

int subnet_parse(const char *text, struct subnet *ret, struct err *err)
{
    char address[16] = "";
    const char *slash = strchr(text, '/');
    struct in_addr parsed;
    int64_t prefix_len = -1;
    if (slash && slash - text < 16)
        memcpy(address, text, (size_t)(slash - text));
    if (!slash || inet_pton(AF_INET, address, &parsed) != 1 || !str_to_i64(str_from(slash + 1), &prefix_len) ||
        prefix_len < 8 || prefix_len > 30)
        return err_set(err, ERR_BAD_REQUEST, "%s is not an IPv4 range such as 10.244.1.0/24", text);
    ret->prefix_len = (unsigned)prefix_len;
    ret->network = ntohl(parsed.s_addr) & (~(uint32_t)0 << (32 - ret->prefix_len));
    return 0;
}

void address_format(uint32_t address, char ret[16])
{
    struct in_addr in = {htonl(address)};
    inet_ntop(AF_INET, &in, ret, 16);
}

/* Held until the descriptor is closed. */
static int lock_dir(const char *data_dir, struct err *err)
{
    char path[PATH_SIZE];
    if (mkdir(data_dir, 0700) != 0 && errno != EEXIST)
        return err_set_errno(err, ERR_IO, errno, "make %s", data_dir);
    snprintf(path, sizeof path, "%s/lock", data_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        int errnum = errno;
        if (fd >= 0)
            close(fd);
        return err_set_errno(err, ERR_IO, errnum, "lock %s", path);
    }
    return fd;
}

static bool read_owner(const char *data_dir, const char *address, char ret[OWNER_MAX])
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", data_dir, address);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, ret, OWNER_MAX - 1) : -1;
    if (fd >= 0)
        close(fd);
    ret[n > 0 ? n : 0] = 0;
    return n >= 0;
}

/* Calls fn for each address file; fn answers false to stop. */
static int each_address(const char *data_dir, bool (*fn)(void *arg, const char *address, const char *owner), void *arg,
                        struct err *err)
{
    DIR *dir = opendir(data_dir);
    if (!dir)
        return errno == ENOENT ? 0 : err_set_errno(err, ERR_IO, errno, "read %s", data_dir);
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        char owner[OWNER_MAX];
        struct in_addr parsed;
        if (inet_pton(AF_INET, entry->d_name, &parsed) == 1 && read_owner(data_dir, entry->d_name, owner) &&
            !fn(arg, entry->d_name, owner))
            break;
    }
    closedir(dir);
    return 0;
}

struct search {
    const char *data_dir, *owner;
    uint32_t found;
};

static bool find_owner(void *arg, const char *address, const char *owner)
{
    struct search *search = arg;
    struct in_addr parsed;
    if (strcmp(owner, search->owner) != 0)
        return true;
    inet_pton(AF_INET, address, &parsed);
    search->found = ntohl(parsed.s_addr);
    return false;
}

static bool claim(const char *data_dir, uint32_t address, const char *owner)
{
    char text[16], path[PATH_SIZE];
    address_format(address, text);
    snprintf(path, sizeof path, "%s/%s", data_dir, text);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    ssize_t n = write(fd, owner, strlen(owner));
    close(fd);
    if (n != (ssize_t)strlen(owner)) {
        unlink(path);
        return false;
    }
    return true;
}

static uint32_t last_given(int lock_fd)
{
    uint32_t last = 0;
    return pread(lock_fd, &last, sizeof last, 0) == (ssize_t)sizeof last ? last : 0;
}

int address_take(const char *data_dir, const struct subnet *subnet, const char *owner, uint32_t *ret, struct err *err)
{
    int lock_fd = lock_dir(data_dir, err);
    if (lock_fd < 0)
        return lock_fd;
    struct search search = {data_dir, owner, 0};
    int rc = each_address(data_dir, find_owner, &search, err);
    uint32_t size = (uint32_t)1 << (32 - subnet->prefix_len), usable = size - 3; /* network, gateway, broadcast */
    uint32_t first = subnet->network + 2, last = last_given(lock_fd);
    uint32_t from = last >= first && last < first + usable ? last - first + 1 : 0;
    for (uint32_t i = 0; rc == 0 && !search.found && i < usable; i++) {
        uint32_t candidate = first + (from + i) % usable;
        if (!claim(data_dir, candidate, owner))
            continue;
        search.found = candidate;
        if (pwrite(lock_fd, &candidate, sizeof candidate, 0) < 0)
            rc = err_set_errno(err, ERR_IO, errno, "write %s/lock", data_dir);
    }
    close(lock_fd);
    if (rc == 0 && !search.found)
        rc = err_set(err, ERR_NO_SPACE, "all %u addresses of this node's pod range are in use", usable);
    *ret = search.found;
    return rc;
}

static bool release_if_owned(void *arg, const char *address, const char *owner)
{
    struct search *search = arg;
    if (strcmp(owner, search->owner) == 0) {
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "%s/%s", search->data_dir, address);
        unlink(path);
    }
    return true;
}

int address_release(const char *data_dir, const char *owner, struct err *err)
{
    int lock_fd = lock_dir(data_dir, err);
    if (lock_fd < 0)
        return lock_fd;
    struct search search = {data_dir, owner, 0};
    int rc = each_address(data_dir, release_if_owned, &search, err);
    close(lock_fd);
    return rc;
}
