#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

static atomic_bool fake;
static _Atomic int64_t fake_wall_ms, fake_mono_ms;

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return atomic_load_explicit(&fake, memory_order_relaxed) ? fake_mono_ms * 1000 : read_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_us(void)
{
    return atomic_load_explicit(&fake, memory_order_relaxed) ? fake_wall_ms * 1000 : read_us(CLOCK_REALTIME);
}

int64_t clock_wall_ms(void)
{
    return clock_wall_us() / 1000;
}

void clock_fake(int64_t wall_ms, int64_t mono_ms)
{
    fake_wall_ms = wall_ms;
    fake_mono_ms = mono_ms;
    fake = true;
}

void clock_fake_advance(int64_t ms)
{
    fake_wall_ms += ms;
    fake_mono_ms += ms;
}

void clock_real(void)
{
    fake = false;
}
