/* A full cluster: it raises an alarm and refuses writes until somebody makes room and takes the alarm back. This server
 * says so, and asks until it is over. */
#include "storage/kv/etcd/etcd.h"

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
