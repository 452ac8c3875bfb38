/* clock: the only place that asks the system for the time, so that tests and the simulation can set it. */
#ifndef SKIFF_BASE_CLOCK_H
#define SKIFF_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_ms(void); /* for time-outs and rates */
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void); /* Unix time, for stamps that people and objects see */
int64_t clock_wall_us(void);

/* From here on both clocks stand at what the test says (milliseconds); clock_real() goes back. */
void clock_fake(int64_t wall_ms, int64_t mono_ms);
void clock_fake_advance(int64_t ms);
void clock_real(void);

#endif
