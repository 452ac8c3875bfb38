/* mem: the heap, for callers that do not want to think about its end: out of memory aborts the process.
 * Memory is released with free().
 */
#ifndef SKIFF_BASE_MEM_H
#define SKIFF_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));  /* uninitialized */
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *mem_realloc(void *p, size_t size) __attribute__((returns_nonnull));
void *mem_dup(const void *p, size_t len) __attribute__((malloc, returns_nonnull)); /* NUL behind its end */
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));

#define MEM_NEW(T) ((T *)mem_zalloc(sizeof(T)))
#define MEM_ARRAY(T, n) ((T *)mem_zalloc(sizeof(T) * (n)))

#endif
