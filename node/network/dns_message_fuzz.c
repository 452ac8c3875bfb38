/* Questions come from any pod: whatever the bytes, parsing and answering stay inside their buffers. */
#include "node/network/dns_zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct service service = {.namespace_ = {"a", 1}, .name = {"b", 1}, .cluster_ip = 1};
    static const struct service_table table = {&service, 1, 1};
    static struct dns_zone zone;
    if (!zone.table)
        dns_zone_init(&zone, arena_create(0), "cluster.local", 0, &table, 1);
    struct dns_question q;
    struct dns_answer a;
    enum dns_code code;
    struct str message = {(const char *)data, size};
    if (!dns_parse_question(message, &q, &code) || code != DNS_OK)
        return 0;
    dns_answer_begin(&a, &q, message);
    dns_zone_answer(&zone, &q, &a, &code);
    struct buf out = dns_answer_end(&a, &q, code, true, q.udp_size);
    buf_free(&out);
    return 0;
}
