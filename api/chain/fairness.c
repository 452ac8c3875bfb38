#include "api/chain/fairness.h"

#include <stdatomic.h>

static atomic_int in_flight[2];

bool fairness_enter(bool mutating)
{
    int limit = mutating ? FAIRNESS_WRITE_SEATS : FAIRNESS_READ_SEATS;
    if (atomic_fetch_add_explicit(&in_flight[mutating], 1, memory_order_relaxed) < limit)
        return true;
    fairness_leave(mutating);
    return false;
}

void fairness_leave(bool mutating)
{
    atomic_fetch_sub_explicit(&in_flight[mutating], 1, memory_order_relaxed);
}

int fairness_in_flight(bool mutating)
{
    return atomic_load_explicit(&in_flight[mutating], memory_order_relaxed);
}
