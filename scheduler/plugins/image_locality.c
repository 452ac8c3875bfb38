/* image locality: nodes that have the pod's images already score, the more the larger the images are, and the less the
 * fewer nodes have them (else all pods of an image would gather where the first one ran). */
#include "scheduler/cycle.h"

enum { MB = 1024 * 1024, LEAST = 23 * MB, MOST_PER_CONTAINER = 1000 * MB };

struct wanted_images {
    const struct image **items;
    size_t len;
};

static enum plugin_answer pre_score(struct cycle *c)
{
    const struct sched_pod *p = c->pod;
    if (!c->snapshot->images.len || !p->n_images)
        return PLUGIN_SKIP;
    struct wanted_images *w = ARENA_NEW(c->arena, struct wanted_images);
    w->items = ARENA_ARRAY(c->arena, const struct image *, p->n_images);
    for (size_t i = 0; i < p->n_images; i++) {
        const struct image *image = map_get(&c->snapshot->images, p->images[i]);
        if (image)
            w->items[w->len++] = image;
    }
    c->state[PLUGIN_IMAGE_LOCALITY] = w;
    return w->len ? PLUGIN_GO : PLUGIN_SKIP;
}

static int64_t score(const struct cycle *c, const struct sched_node *n)
{
    const struct wanted_images *w = c->state[PLUGIN_IMAGE_LOCALITY];
    int64_t sum = 0, most = (int64_t)MOST_PER_CONTAINER * (int64_t)c->pod->n_images;
    for (size_t i = 0; i < n->images.len; i++)
        for (size_t k = 0; k < w->len; k++)
            if (n->images.items[i].image == w->items[k])
                sum += (int64_t)((double)n->images.items[i].size * (double)w->items[k]->n_nodes /
                                 (double)c->snapshot->nodes.len);
    if (sum < LEAST)
        sum = LEAST;
    return SCORE_MAX * ((sum < most ? sum : most) - LEAST) / (most - LEAST);
}

const struct plugin plugin_image_locality = {
    .name = "ImageLocality", .pre_score = pre_score, .score = score, .weight = 1};
