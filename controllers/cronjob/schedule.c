#include "controllers/cronjob/schedule.h"

#include "openapi/meta/time.h"

#define SEARCH_DAYS (5 * 366)

static const char *const months[] = {"",    "jan", "feb", "mar", "apr", "may", "jun",
                                     "jul", "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static bool parse_number(struct str text, const char *const *names, int64_t *ret)
{
    for (int64_t i = 0; names && names[i]; i++) {
        if (*names[i] && str_eq_nocase(text, str_from(names[i]))) {
            *ret = i;
            return true;
        }
    }
    return text.len && text.p[0] >= '0' && text.p[0] <= '9' && str_to_i64(text, ret);
}

/* One part between commas: "*", "5", "1-5", either with "/step". */
static bool parse_part(struct str part, int64_t min, int64_t max, const char *const *names, uint64_t *bits, bool *any)
{
    struct str range, step_text = part, first_text, last_text;
    int64_t first = min, last = max, step = 1;
    str_split(&step_text, '/', &range);
    if (step_text.p && (!str_to_i64(step_text, &step) || step <= 0))
        return false;
    if (str_eqz(range, "*") || str_eqz(range, "?")) {
        *any = *any || step == 1;
    } else {
        last_text = range;
        str_split(&last_text, '-', &first_text);
        if (!parse_number(first_text, names, &first))
            return false;
        if (last_text.p && !parse_number(last_text, names, &last))
            return false;
        if (!last_text.p)
            last = step_text.p ? max : first;
    }
    if (first < min || last > max || first > last)
        return false;
    for (int64_t i = first; i <= last; i += step)
        *bits |= (uint64_t)1 << i;
    return true;
}

static bool parse_field(struct str field, int64_t min, int64_t max, const char *const *names, uint64_t *bits, bool *any)
{
    struct str part;
    if (!field.len)
        return false;
    while (str_split(&field, ',', &part)) {
        if (!parse_part(part, min, max, names, bits, any))
            return false;
    }
    return true;
}

static struct str expand(struct str text)
{
    static const char *const words[][2] = {
        {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
        {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (str_eqz(text, words[i][0]))
            return str_from(words[i][1]);
    }
    return text;
}

bool schedule_parse(struct str text, struct schedule *ret)
{
    struct str fields[5], field;
    size_t n = 0;
    bool ignored = false;
    int64_t every_ns;
    *ret = (struct schedule){0};
    text = expand(str_trim(text));
    if (str_starts(text, STR("@every "))) {
        if (duration_parse(str_sub(text, 7, text.len), &every_ns) < 0)
            return false;
        ret->every_s = every_ns / 1000000000 > 0 ? every_ns / 1000000000 : 1;
        return true;
    }
    while (str_split(&text, ' ', &field)) {
        if (!field.len)
            continue;
        if (n == 5)
            return false;
        fields[n++] = field;
    }
    return n == 5 && parse_field(fields[0], 0, 59, NULL, &ret->minutes, &ignored) &&
           parse_field(fields[1], 0, 23, NULL, &ret->hours, &ignored) &&
           parse_field(fields[2], 1, 31, NULL, &ret->days, &ret->any_day) &&
           parse_field(fields[3], 1, 12, months, &ret->months, &ignored) &&
           parse_field(fields[4], 0, 6, weekdays, &ret->weekdays, &ret->any_weekday);
}

static bool has(uint64_t bits, int n)
{
    return bits >> n & 1;
}

static bool means_day(const struct schedule *s, const struct time_civil *c)
{
    bool day = has(s->days, c->day), weekday = has(s->weekdays, c->wday);
    if (!has(s->months, c->month))
        return false;
    return s->any_day || s->any_weekday ? day && weekday : day || weekday;
}

int64_t schedule_next(const struct schedule *s, int64_t after_s)
{
    if (s->every_s)
        return after_s + s->every_s;
    int64_t at_s = after_s - after_s % 60 + 60, end_s = at_s + SEARCH_DAYS * (int64_t)86400;
    while (at_s < end_s) {
        struct time_civil c = time_civil_from(at_s);
        if (!means_day(s, &c)) {
            at_s += 86400 - at_s % 86400;
        } else if (!has(s->hours, c.hour)) {
            at_s += 3600 - at_s % 3600;
        } else if (!has(s->minutes, c.minute)) {
            at_s += 60;
        } else {
            return at_s;
        }
    }
    return 0;
}
