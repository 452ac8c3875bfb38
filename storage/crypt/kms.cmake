# The messages of key management services in C: generated from kms.proto, included as "storage/crypt/kms.pb-c.h".
set(KMS_GEN ${CMAKE_BINARY_DIR}/gen/storage/crypt)
find_program(PROTOC_C protoc-c REQUIRED)
file(MAKE_DIRECTORY ${KMS_GEN})
add_custom_command(
  OUTPUT ${KMS_GEN}/kms.pb-c.c ${KMS_GEN}/kms.pb-c.h
  COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR} --c_out=${CMAKE_BINARY_DIR}/gen
          ${CMAKE_SOURCE_DIR}/storage/crypt/kms.proto
  DEPENDS ${CMAKE_SOURCE_DIR}/storage/crypt/kms.proto
  VERBATIM)
set(KMS_SOURCES ${KMS_GEN}/kms.pb-c.c)
set_source_files_properties(${KMS_SOURCES} PROPERTIES COMPILE_OPTIONS "-w")
