#include "controllers/job/job.h"

#include <inttypes.h>

static bool is_listed(const struct value *list, struct str uid)
{
    for (size_t i = 0; i < value_len(list); i++) {
        if (str_eq(value_str(value_at(list, i)), uid))
            return true;
    }
    return false;
}

bool job_pod_is_held(const struct pod_state *p)
{
    for (size_t i = 0; i < p->pod->metadata->finalizers.len; i++) {
        if (str_eqz(p->pod->metadata->finalizers.items[i], JOB_FINALIZER))
            return true;
    }
    return false;
}

void job_release_pod(const struct object *pod, struct outcome *out)
{
    struct value *patch = value_map(out->arena),
                 *list = value_path(object_value(out->arena, pod), "metadata.finalizers");
    bool found = false;
    for (size_t i = value_len(list); i-- > 0;) {
        if (str_eqz(value_str(value_at(list, i)), JOB_FINALIZER)) {
            value_remove_at(list, i);
            found = true;
        }
    }
    if (!found)
        return;
    value_set_path(out->arena, patch, "metadata.finalizers", list);
    outcome_patch(out, pod, NULL, patch);
}

int64_t job_pod_index(const struct pod_state *p)
{
    int64_t index;
    return str_to_i64(view_map_get(p->pod->metadata->annotations, STR(JOB_INDEX)), &index) && index >= 0 ? index : -1;
}

static const struct pod_state *find_pod(const struct job *j, struct str uid)
{
    for (size_t i = 0; i < j->n_pods; i++) {
        if (str_eq(j->pods[i].object->uid, uid))
            return &j->pods[i];
    }
    return NULL;
}

/* ---- indexes as text: "1,3-5" ---- */

static void read_indexes(struct job *j, struct str text)
{
    struct str part;
    while (str_split(&text, ',', &part)) {
        struct str from, to = part;
        int64_t first, last;
        str_split(&to, '-', &from);
        if (!str_to_i64(from, &first) || !str_to_i64(to.p ? to : from, &last))
            continue;
        for (int64_t i = first; i <= last && i < j->completions; i++)
            j->done[i] = true;
    }
}

static struct str write_indexes(struct arena *a, const bool *done, int64_t n)
{
    struct buf text = {0};
    for (int64_t i = 0; i < n; i++) {
        int64_t last = i;
        if (!done[i])
            continue;
        while (last + 1 < n && done[last + 1])
            last++;
        buf_printf(&text, "%s%" PRId64, text.len ? "," : "", i);
        if (last > i)
            buf_printf(&text, "%c%" PRId64, last > i + 1 ? '-' : ',', last);
        i = last;
    }
    struct str copy = arena_str(a, buf_str(&text));
    buf_free(&text);
    return copy;
}

/* ---- counting ---- */

/* Of those whose end is on record: what has lost its finalizer is counted, what has not loses it. */
static int64_t settle(struct job *j, struct value *list)
{
    int64_t counted = 0;
    for (size_t i = value_len(list); i-- > 0;) {
        const struct pod_state *p = find_pod(j, value_str(value_at(list, i)));
        if (p && job_pod_is_held(p)) {
            job_release_pod(p->object, j->out);
            continue;
        }
        value_remove_at(list, i);
        counted++;
    }
    return counted;
}

static void record_ends(struct job *j, struct value *succeeded, struct value *failed)
{
    struct arena *a = j->out->arena;
    for (size_t i = 0; i < j->n_pods; i++) {
        const struct pod_state *p = &j->pods[i];
        bool success = str_eqz(p->pod->status->phase, "Succeeded");
        int64_t index = job_pod_index(p);
        if (!p->finished || !job_pod_is_held(p) || is_listed(succeeded, p->object->uid) ||
            is_listed(failed, p->object->uid))
            continue;
        if (success && j->indexed) {
            if (index < 0 || index >= j->completions || j->done[index]) {
                job_release_pod(p->object, j->out); /* a second success of one index is none */
                continue;
            }
            j->done[index] = true;
        }
        value_append(a, success ? succeeded : failed, value_string(a, p->object->uid));
    }
}

static void count_live(struct job *j, bool over)
{
    for (size_t i = 0; i < j->n_pods; i++) {
        struct pod_state *p = &j->pods[i];
        j->active += p->active;
        j->ready += p->active && p->ready;
        j->terminating += p->object->deletion_s && !p->finished;
        bool never_ran = !p->pod->spec->node_name.len;
        if (p->object->deletion_s && !p->finished && (over || never_ran))
            job_release_pod(p->object, j->out);
    }
}

void job_count(struct job *j, bool over)
{
    struct arena *a = j->out->arena;
    struct value *status = j->status, *uncounted = value_ensure_map(a, status, "uncountedTerminatedPods");
    struct value *succeeded = value_ensure_list(a, uncounted, "succeeded"),
                 *failed = value_ensure_list(a, uncounted, "failed");
    if (j->indexed) {
        j->done = ARENA_ARRAY(a, bool, (size_t)j->completions + 1);
        read_indexes(j, value_path_str(status, "completedIndexes"));
    }
    int64_t n_succeeded = value_path_int(status, "succeeded", 0) + settle(j, succeeded);
    int64_t n_failed = value_path_int(status, "failed", 0) + settle(j, failed);
    record_ends(j, succeeded, failed);
    count_live(j, over);
    j->succeeded = n_succeeded + (int64_t)value_len(succeeded);
    j->failed = n_failed + (int64_t)value_len(failed);
    j->uncounted = value_len(succeeded) || value_len(failed);
    if (j->indexed) {
        struct str text = write_indexes(a, j->done, j->completions);
        if (text.len)
            value_setz(a, status, "completedIndexes", value_string(a, text));
        n_succeeded = 0;
        for (int64_t i = 0; i < j->completions; i++)
            n_succeeded += j->done[i];
        j->succeeded = n_succeeded;
    }
    static const struct {
        const char *name;
        bool always;
    } members[] = {{"active"}, {"succeeded"}, {"failed"}, {"ready", true}, {"terminating", true}};
    const int64_t numbers[] = {j->active, n_succeeded, n_failed, j->ready, j->terminating};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i] || members[i].always)
            value_setz(a, status, members[i].name, value_int(a, numbers[i]));
        else
            value_removez(status, members[i].name);
    }
    if (!value_len(succeeded))
        value_removez(uncounted, "succeeded");
    if (!value_len(failed))
        value_removez(uncounted, "failed");
}
