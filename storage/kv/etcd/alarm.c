/* What can be wrong with a cluster that answers.
 *
 * A full one raises an alarm and refuses writes until somebody makes room and takes the alarm back: this server says
 * so, and asks until it is over. One whose revision went back was replaced, or restored from a backup: nothing that is
 * in memory here holds there, so nothing is answered until the server is started anew. */
#include "storage/kv/etcd/etcd.h"

#include <stdio.h>

enum { ASK_EVERY_MS = 3000, NO_SPACE = 1 };

static void ask(void *arg);

static void asked(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct etcd *e = arg;
    const Etcdserverpb__AlarmResponse *r = (const Etcdserverpb__AlarmResponse *)response;
    bool still = err != NULL;

    for (size_t i = 0; !err && i < r->n_alarms; i++)
        still |= r->alarms[i]->alarm == NO_SPACE;
    if (e->closing || !e->full)
        return;
    if (still)
        timer_start(&e->asking, e->loop, ASK_EVERY_MS, ask, e);
    else
        etcd_full_over(e);
}

static void ask(void *arg)
{
    static const Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    struct etcd *e = arg;

    etcd_call(e, "/etcdserverpb.Maintenance/Alarm", &request.base, &etcdserverpb__alarm_response__descriptor, true,
              asked, e);
}

void etcd_full(struct etcd *e)
{
    etcd_trouble_set(e, "etcd has no space left (its quota is full): writes are refused until it has, and its alarm is "
                        "disarmed");
    if (e->full)
        return;
    e->full = true;
    timer_start(&e->asking, e->loop, ASK_EVERY_MS, ask, e);
}

void etcd_full_over(struct etcd *e)
{
    e->full = false;
    timer_stop(&e->asking);
    etcd_trouble_set(e, NULL);
}

int etcd_went_back(struct etcd *e, int64_t floor, int64_t answered, struct err *err)
{
    char text[300];

    if (answered >= floor)
        return 0;
    snprintf(
        text, sizeof text,
        "etcd at %s went back from revision %lld to %lld (it was replaced, or restored from a backup): restart this "
        "server",
        grpc_channel_endpoint(e->channel), (long long)floor, (long long)answered);
    e->went_back = true;
    etcd_trouble_set(e, text);
    return err_set(err, ERR_CORRUPT, "%s", text);
}
