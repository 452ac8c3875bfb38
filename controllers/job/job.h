/* job: one Job with its pods, as one run of the controller sees it.
 *
 * Every pod carries a finalizer until it is counted: first its uid goes into status.uncountedTerminatedPods, then its
 * finalizer goes, then the number in the status grows. So no end is counted twice or lost, whatever fails in between.
 */
#ifndef SKIFF_CONTROLLERS_JOB_JOB_H
#define SKIFF_CONTROLLERS_JOB_JOB_H

#include "controllers/pods/pod_control.h"

#define JOB_FINALIZER "batch.kubernetes.io/job-tracking"
#define JOB_INDEX "batch.kubernetes.io/job-completion-index"

struct job {
    const struct object *object;
    const struct batch_v1_job *view;
    struct pod_state *pods;
    size_t n_pods;
    struct value *status; /* as it should be */
    bool indexed;
    int64_t completions;                                   /* -1 = none given: any success completes */
    int64_t active, ready, terminating, succeeded, failed; /* with those not counted yet */
    bool uncounted;                                        /* there are such */
    bool *done;                                            /* Indexed: which indexes have succeeded */
    struct outcome *out;
};

/* Moves ended pods through the steps above; fills the numbers. `over`: the Job has ended, pods on their way out do not
 * count. */
void job_count(struct job *j, bool over);
bool job_pod_is_held(const struct pod_state *p); /* still carries the finalizer */
void job_release_pod(const struct object *pod, struct outcome *out);
int64_t job_pod_index(const struct pod_state *p); /* -1 = none */

#endif
