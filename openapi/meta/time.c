#include "openapi/meta/time.h"

#include "base/err.h"

#include <stdio.h>

static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

struct time_civil time_civil_from(int64_t unix_s)
{
    int64_t days = floor_div(unix_s, 86400);
    int64_t rest = unix_s - days * 86400;
    int64_t z = days + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    struct time_civil c = {
        .day = (int)(doy - (153 * mp + 2) / 5 + 1),
        .month = (int)(mp < 10 ? mp + 3 : mp - 9),
        .hour = (int)(rest / 3600),
        .minute = (int)(rest / 60 % 60),
        .second = (int)(rest % 60),
    };
    c.year = (int)(yoe + era * 400 + (c.month <= 2));
    c.wday = (int)(((days + 4) % 7 + 7) % 7);
    return c;
}

int64_t time_civil_to(const struct time_civil *c)
{
    int64_t months = (int64_t)c->year * 12 + c->month - 1;
    int64_t year = floor_div(months, 12);
    int month = (int)(months - year * 12) + 1;
    return (days_from_civil(year, month, 1) + c->day - 1) * 86400 + (int64_t)c->hour * 3600 + c->minute * 60 +
           c->second;
}

/* n digits at s[at]; -1 when they are not digits */
static int digits(struct str s, size_t at, size_t n)
{
    int v = 0;
    if (at + n > s.len)
        return -1;
    for (size_t i = at; i < at + n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        v = v * 10 + (s.p[i] - '0');
    }
    return v;
}

static bool zone(struct str s, size_t at, int64_t *ret_offset_s)
{
    *ret_offset_s = 0;
    if (at + 1 == s.len && s.p[at] == 'Z')
        return true;
    if (at + 6 != s.len || (s.p[at] != '+' && s.p[at] != '-') || s.p[at + 3] != ':')
        return false;
    int h = digits(s, at + 1, 2), m = digits(s, at + 4, 2);
    if (h < 0 || h > 24 || m < 0 || m > 60)
        return false;
    *ret_offset_s = (s.p[at] == '-' ? -1 : 1) * (h * 3600 + m * 60);
    return true;
}

int time_parse_rfc3339(struct str s, int64_t *ret_us)
{
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (s.len < 20 || s.p[4] != '-' || s.p[7] != '-' || s.p[10] != 'T' || s.p[13] != ':' || s.p[16] != ':')
        return ERR_BAD_REQUEST;
    struct time_civil c = {
        digits(s, 0, 4), digits(s, 5, 2), digits(s, 8, 2), digits(s, 11, 2), digits(s, 14, 2), digits(s, 17, 2), 0};
    if (c.year < 0 || c.month < 1 || c.month > 12 || c.day < 1 || c.day > month_days[c.month - 1] || c.hour < 0 ||
        c.hour > 23 || c.minute < 0 || c.minute > 59 || c.second < 0 || c.second > 59)
        return ERR_BAD_REQUEST;
    bool leap = (c.year % 4 == 0 && c.year % 100 != 0) || c.year % 400 == 0;
    if (c.month == 2 && c.day == 29 && !leap)
        return ERR_BAD_REQUEST;
    size_t at = 19;
    int64_t us = 0;
    if (s.p[at] == '.' || s.p[at] == ',') {
        int64_t unit = 100000;
        size_t from = ++at;
        for (; at < s.len && s.p[at] >= '0' && s.p[at] <= '9'; at++, unit /= 10)
            us += (s.p[at] - '0') * unit;
        if (at == from)
            return ERR_BAD_REQUEST;
    }
    int64_t offset_s = 0;
    if (!zone(s, at, &offset_s))
        return ERR_BAD_REQUEST;
    *ret_us = (time_civil_to(&c) - offset_s) * 1000000 + us;
    return 0;
}

int64_t time_from(struct str in)
{
    int64_t us = 0;
    return time_parse_rfc3339(in, &us) == 0 ? us : 0;
}

static void write_two(char *out, int n, char behind)
{
    out[0] = (char)('0' + n / 10);
    out[1] = (char)('0' + n % 10);
    out[2] = behind;
}

size_t time_write(int64_t us, char out[TIME_TEXT_MAX])
{
    struct time_civil c = time_civil_from(floor_div(us, 1000000));
    if (c.year < 0 || c.year > 9999)
        return (size_t)snprintf(out, TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02dZ", c.year, c.month, c.day, c.hour,
                                c.minute, c.second);
    write_two(out, c.year / 100, 0);
    write_two(out + 2, c.year % 100, '-');
    write_two(out + 5, c.month, '-');
    write_two(out + 8, c.day, 'T');
    write_two(out + 11, c.hour, ':');
    write_two(out + 14, c.minute, ':');
    write_two(out + 17, c.second, 'Z');
    out[20] = 0;
    return 20;
}

struct str time_format(struct arena *a, int64_t us)
{
    char out[TIME_TEXT_MAX];
    size_t n = time_write(us, out);
    return arena_str(a, (struct str){out, n});
}

struct str time_format_micro(struct arena *a, int64_t us)
{
    char out[TIME_TEXT_MAX];
    size_t n = time_write(us, out);
    int64_t micro = us - floor_div(us, 1000000) * 1000000;
    return arena_printf(a, "%.*s.%06dZ", (int)n - 1, out, (int)micro);
}

static const struct {
    const char *name;
    int64_t ns;
} units[] = {{"ns", 1},       {"us", 1000},      {"µs", 1000},         {"μs", 1000},
             {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000LL}, {"h", 3600000000000LL}};

static bool unit_at(struct str s, size_t *at, int64_t *ret_ns)
{
    size_t from = *at;
    while (*at < s.len && s.p[*at] != '.' && (s.p[*at] < '0' || s.p[*at] > '9'))
        (*at)++;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (str_eqz(str_sub(s, from, *at), units[i].name)) {
            *ret_ns = units[i].ns;
            return true;
        }
    }
    return false;
}

int duration_parse(struct str s, int64_t *ret_ns)
{
    __int128 total = 0;
    size_t at = s.len > 0 && (s.p[0] == '-' || s.p[0] == '+');
    bool negative = s.len > 0 && s.p[0] == '-';
    if (str_eqz(str_sub(s, at, s.len), "0")) {
        *ret_ns = 0;
        return 0;
    }
    if (at == s.len)
        return ERR_BAD_REQUEST;
    while (at < s.len) {
        __int128 whole = 0, fraction = 0, scale = 1;
        size_t from = at, seen = 0;
        for (; at < s.len && s.p[at] >= '0' && s.p[at] <= '9'; at++, seen++)
            whole = whole > INT64_MAX ? whole : whole * 10 + (s.p[at] - '0');
        if (at < s.len && s.p[at] == '.') {
            for (at++; at < s.len && s.p[at] >= '0' && s.p[at] <= '9'; at++, seen++) {
                if (scale < (__int128)1000000000000000000LL) {
                    fraction = fraction * 10 + (s.p[at] - '0');
                    scale *= 10;
                }
            }
        }
        int64_t unit = 0;
        if (from == at || seen == 0 || !unit_at(s, &at, &unit))
            return ERR_BAD_REQUEST;
        total += whole * unit + fraction * unit / scale;
        if (total > INT64_MAX)
            return ERR_BAD_REQUEST;
    }
    *ret_ns = negative ? -(int64_t)total : (int64_t)total;
    return 0;
}

/* v/10^places with trailing zeros of the fraction cut */
static struct str with_fraction(struct arena *a, int64_t v, int places, const char *suffix)
{
    int64_t unit = 1;
    for (int i = 0; i < places; i++)
        unit *= 10;
    int64_t rest = v % unit;
    if (rest == 0)
        return arena_printf(a, "%lld%s", (long long)(v / unit), suffix);
    for (; rest % 10 == 0; places--)
        rest /= 10;
    return arena_printf(a, "%lld.%0*lld%s", (long long)(v / unit), places, (long long)rest, suffix);
}

struct str duration_format(struct arena *a, int64_t ns)
{
    if (ns == 0)
        return STR("0s");
    if (ns < 0)
        return arena_printf(a, "-" STR_FMT, STR_ARG(duration_format(a, ns == INT64_MIN ? INT64_MAX : -ns)));
    if (ns < 1000)
        return with_fraction(a, ns, 0, "ns");
    if (ns < 1000000)
        return with_fraction(a, ns, 3, "µs");
    if (ns < 1000000000)
        return with_fraction(a, ns, 6, "ms");
    int64_t minutes = ns / units[6].ns;
    struct str seconds = with_fraction(a, ns % units[6].ns, 9, "s");
    if (minutes == 0)
        return seconds;
    if (minutes < 60)
        return arena_printf(a, "%lldm" STR_FMT, (long long)minutes, STR_ARG(seconds));
    return arena_printf(a, "%lldh%lldm" STR_FMT, (long long)(minutes / 60), (long long)(minutes % 60),
                        STR_ARG(seconds));
}

/* "5h12m": a larger and a smaller unit, the smaller left out when zero */
static struct str two_units(struct arena *a, int64_t big, char big_unit, int64_t small, char small_unit)
{
    if (small == 0)
        return arena_printf(a, "%lld%c", (long long)big, big_unit);
    return arena_printf(a, "%lld%c%lld%c", (long long)big, big_unit, (long long)small, small_unit);
}

struct str duration_human(struct arena *a, int64_t us)
{
    int64_t s = us / 1000000, m = s / 60, h = m / 60;
    if (s < -1)
        return STR("<invalid>");
    if (s < 0)
        return STR("0s");
    if (s < 120)
        return arena_printf(a, "%llds", (long long)s);
    if (m < 10)
        return two_units(a, m, 'm', s % 60, 's');
    if (m < 180)
        return arena_printf(a, "%lldm", (long long)m);
    if (h < 8)
        return two_units(a, h, 'h', m % 60, 'm');
    if (h < 48)
        return arena_printf(a, "%lldh", (long long)h);
    if (h < 24 * 8)
        return two_units(a, h / 24, 'd', h % 24, 'h');
    if (h < 24 * 365 * 2)
        return arena_printf(a, "%lldd", (long long)(h / 24));
    if (h < 24 * 365 * 8)
        return two_units(a, h / 24 / 365, 'y', h / 24 % 365, 'd');
    return arena_printf(a, "%lldy", (long long)(h / 24 / 365));
}
