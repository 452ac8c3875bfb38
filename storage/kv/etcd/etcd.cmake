# etcd's messages in C: generated from rpc.proto, included as "storage/kv/etcd/rpc.pb-c.h".
set(ETCD_GEN ${CMAKE_BINARY_DIR}/gen/storage/kv/etcd)
find_program(PROTOC_C protoc-c REQUIRED)
file(MAKE_DIRECTORY ${ETCD_GEN})
add_custom_command(
  OUTPUT ${ETCD_GEN}/rpc.pb-c.c ${ETCD_GEN}/rpc.pb-c.h
  COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR} --c_out=${CMAKE_BINARY_DIR}/gen
          ${CMAKE_SOURCE_DIR}/storage/kv/etcd/rpc.proto
  DEPENDS ${CMAKE_SOURCE_DIR}/storage/kv/etcd/rpc.proto
  VERBATIM)
set(ETCD_SOURCES ${ETCD_GEN}/rpc.pb-c.c)
set_source_files_properties(${ETCD_SOURCES} PROPERTIES COMPILE_OPTIONS "-w")
