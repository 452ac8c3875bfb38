#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *mem_check(void *p)
{
    if (!p) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return p;
}

void *mem_alloc(size_t size)
{
    return mem_check(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size)
{
    return mem_check(calloc(1, size ? size : 1));
}

void *mem_realloc(void *p, size_t size)
{
    return mem_check(realloc(p, size ? size : 1));
}

void *mem_dup(const void *p, size_t len)
{
    char *copy = mem_alloc(len + 1);
    if (len)
        memcpy(copy, p, len);
    copy[len] = 0;
    return copy;
}

char *mem_strdup(const char *s)
{
    return mem_dup(s, strlen(s));
}
