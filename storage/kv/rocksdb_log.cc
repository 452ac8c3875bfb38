#include "storage/kv/rocksdb_log.h"

#include <cstdarg>
#include <cstdio>
#include <memory>
#include <rocksdb/env.h>
#include <rocksdb/options.h>

extern "C" {
#include "base/log.h"
}

/* As the C interface defines it. */
struct rocksdb_options_t {
    rocksdb::Options rep;
};

namespace
{
class messages : public rocksdb::Logger
{
  public:
    messages() : Logger(rocksdb::ERROR_LEVEL)
    {
    }
    using Logger::Logv;
    void Logv(const char *format, va_list args) override
    {
        char text[512];
        vsnprintf(text, sizeof text, format, args);
        log_debug("storage", "RocksDB: %s", text);
    }
};
} // namespace

void rocksdb_log_here(rocksdb_options_t *options)
{
    options->rep.info_log = std::make_shared<messages>();
}
