/* schedule: the five fields of cron (minute, hour, day of month, month, day of week), with names, steps, ranges and the
 * usual @words; and when they come round, in UTC.
 */
#ifndef SKIFF_CONTROLLERS_CRONJOB_SCHEDULE_H
#define SKIFF_CONTROLLERS_CRONJOB_SCHEDULE_H

#include "base/str.h"

struct schedule {
    uint64_t minutes, hours, days, months, weekdays; /* bit n: n is meant */
    bool any_day, any_weekday;                       /* '*': else a day is meant when either field means it */
    int64_t every_s;                                 /* "@every 1h30m" in seconds, 0 = the fields */
};

bool schedule_parse(struct str text, struct schedule *ret);
/* The first time after `after_s` (Unix seconds); 0 = never. */
int64_t schedule_next(const struct schedule *s, int64_t after_s);

#endif
