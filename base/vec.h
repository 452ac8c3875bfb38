/* vec: a typed growing array on the heap.  VEC(int) xs = {0}; vec_push(&xs, 3); vec_free(&xs); */
#ifndef SKIFF_BASE_VEC_H
#define SKIFF_BASE_VEC_H

#include <stddef.h>

#define VEC(T)           \
    struct {             \
        T *items;        \
        size_t len, cap; \
    }

void *vec_grow_items(void *items, size_t *cap, size_t item_size, size_t want);

#define vec_reserve(v, n) \
    ((n) > (v)->cap ? (void)((v)->items = vec_grow_items((v)->items, &(v)->cap, sizeof *(v)->items, (n))) : (void)0)
#define vec_push(v, ...)                      \
    do {                                      \
        vec_reserve((v), (v)->len + 1);       \
        (v)->items[(v)->len++] = __VA_ARGS__; \
    } while (0)
#define vec_remove_swap(v, i) ((void)((v)->items[(i)] = (v)->items[--(v)->len]))
#define vec_free(v)              \
    do {                         \
        free((v)->items);        \
        (v)->items = NULL;       \
        (v)->len = (v)->cap = 0; \
    } while (0)

#endif
