#include "storage/kv/rocksdb_resume.h"

#include <cstring>
#include <memory>
#include <rocksdb/db.h>
#include <rocksdb/listener.h>

/* As the C interface defines it; it has been this one pointer since its beginning. */
struct rocksdb_t {
    rocksdb::DB *rep;
};
struct rocksdb_options_t {
    rocksdb::Options rep;
};

namespace
{
class stay_stopped : public rocksdb::EventListener
{
  public:
    void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool *auto_recovery) override
    {
        *auto_recovery = false;
    }
};
} // namespace

void rocksdb_resume_never_by_itself(rocksdb_options_t *options)
{
    options->rep.max_bgerror_resume_count = 0;
    options->rep.listeners.push_back(std::make_shared<stay_stopped>());
}

void rocksdb_resume(rocksdb_t *db, char **ret_error)
{
    rocksdb::Status status = db->rep->Resume();

    *ret_error = status.ok() ? nullptr : strdup(status.ToString().c_str());
}
