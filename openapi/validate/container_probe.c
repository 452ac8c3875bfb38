/* Probes and lifecycle hooks: exactly one handler each. */
#include "openapi/validate/container.h"

static void check_http(struct check *c, at_path at, const struct value *http)
{
    const struct value *headers = value_getz(http, "httpHeaders");
    if (text_of(http, "path").len == 0)
        bad_required(c, AT(at, "path"), "");
    check_port_or_name(c, AT(at, "port"), value_getz(http, "port"));
    for (size_t i = 0; i < value_len(headers); i++)
        bad_name(c, AT(at, "httpHeaders"), name_check_http_header, text_of(value_at(headers, i), "name"));
}

static void check_handler(struct check *c, at_path at, const struct value *h, const char *const *kinds, int64_t grace_s)
{
    int n = 0;
    for (size_t i = 0; kinds[i]; i++) {
        const struct value *handler = value_getz(h, kinds[i]);
        at_path here = AT_STR(at, str_from(kinds[i]));
        if (!value_is(handler, VALUE_MAP))
            continue;
        if (n++ > 0) {
            bad_forbidden(c, here, "may not specify more than 1 handler type");
            continue;
        }
        if (strcmp(kinds[i], "httpGet") == 0)
            check_http(c, here, handler);
        else if (strcmp(kinds[i], "tcpSocket") == 0)
            check_port_or_name(c, AT(here, "port"), value_getz(handler, "port"));
        else if (strcmp(kinds[i], "sleep") == 0 &&
                 (int_of(handler, "seconds") < 0 || int_of(handler, "seconds") > grace_s))
            bad_invalid(c, here, value_getz(handler, "seconds"),
                        "must be non-negative and less than terminationGracePeriodSeconds (%lld)", (long long)grace_s);
    }
    if (n == 0)
        bad_required(c, at, "must specify a handler type");
}

static void check_probe(struct check *c, at_path at, const struct value *probe, bool readiness)
{
    static const char *const kinds[] = {"exec", "httpGet", "tcpSocket", "grpc", NULL};
    if (!value_is(probe, VALUE_MAP))
        return;
    check_handler(c, at, probe, kinds, 0);
    check_not_negative(c, at, probe, "timeoutSeconds");
    check_not_negative(c, at, probe, "periodSeconds");
    check_not_negative(c, at, probe, "successThreshold");
    if (!readiness && int_of(probe, "successThreshold") != 1)
        bad_invalid(c, AT(at, "successThreshold"), value_getz(probe, "successThreshold"), "must be 1");
    if (readiness && has(probe, "terminationGracePeriodSeconds"))
        bad_invalid(c, AT(at, "terminationGracePeriodSeconds"), value_getz(probe, "terminationGracePeriodSeconds"),
                    "must not be set for readinessProbes");
}

void check_probes(struct check *c, at_path at, const struct value *container, int64_t grace_s)
{
    static const char *const kinds[] = {"exec", "httpGet", "tcpSocket", "sleep", NULL};
    const struct value *lifecycle = value_getz(container, "lifecycle");
    if (has(lifecycle, "postStart"))
        check_handler(c, AT(AT(at, "lifecycle"), "postStart"), value_getz(lifecycle, "postStart"), kinds, grace_s);
    if (has(lifecycle, "preStop"))
        check_handler(c, AT(AT(at, "lifecycle"), "preStop"), value_getz(lifecycle, "preStop"), kinds, grace_s);
    check_probe(c, AT(at, "livenessProbe"), value_getz(container, "livenessProbe"), false);
    check_probe(c, AT(at, "readinessProbe"), value_getz(container, "readinessProbe"), true);
    check_probe(c, AT(at, "startupProbe"), value_getz(container, "startupProbe"), false);
}
