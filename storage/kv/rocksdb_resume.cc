#include "storage/kv/rocksdb_resume.h"

#include <cstring>
#include <rocksdb/db.h>

/* As the C interface defines it; it has been this one pointer since its beginning. */
struct rocksdb_t {
    rocksdb::DB *rep;
};

void rocksdb_resume(rocksdb_t *db, char **ret_error)
{
    rocksdb::Status status = db->rep->Resume();

    *ret_error = status.ok() ? nullptr : strdup(status.ToString().c_str());
}
