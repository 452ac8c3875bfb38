#include "cmd/footprint.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define GIVE_BACK_ABOVE (1u << 20)

void footprint_prepare(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024); /* a request's memory serves the next one, not a page fault each */
    mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
}

/* Unmaps a program's or library's code; what is used comes back from the page cache at its next call. */
static int drop_code(struct dl_phdr_info *object, size_t size, void *arg)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size;
    (void)arg;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &object->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || p->p_flags & PF_W)
            continue;
        uintptr_t from = (object->dlpi_addr + p->p_vaddr + page - 1) / page * page;
        uintptr_t to = (object->dlpi_addr + p->p_vaddr + p->p_memsz) / page * page;
        if (to > from)
            madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return 0;
}

void footprint_shrink(void)
{
    static bool started;
    static size_t last;
    if (!started)
        dl_iterate_phdr(drop_code, NULL); /* making keys and opening a store is a third of the code, and runs once */
    started = true;
    size_t now = mallinfo2().fordblks; /* counts what went back already, too: hence only when something has changed */
    if (now > GIVE_BACK_ABOVE && now != last)
        malloc_trim(GIVE_BACK_ABOVE / 8);
    last = now;
}
