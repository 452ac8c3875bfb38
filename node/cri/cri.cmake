# The CRI messages in C: generated from api.proto into ${CMAKE_BINARY_DIR}/gen/node/cri/, included as "node/cri/api.pb-c.h".
find_program(PROTOC_C protoc-c REQUIRED)
set(CRI_GEN ${CMAKE_BINARY_DIR}/gen/node/cri)
file(MAKE_DIRECTORY ${CRI_GEN})
# GNU C predefines `linux` as a macro; the CRI has fields of that name.
add_custom_command(
  OUTPUT ${CRI_GEN}/api.pb-c.c ${CRI_GEN}/api.pb-c.h
  COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR} --c_out=${CMAKE_BINARY_DIR}/gen
          ${CMAKE_SOURCE_DIR}/node/cri/api.proto
  COMMAND sed -i "0,/^#include/s//#undef linux\\n#include/" ${CRI_GEN}/api.pb-c.h
  DEPENDS ${CMAKE_SOURCE_DIR}/node/cri/api.proto
  VERBATIM)
set(CRI_SOURCES ${CRI_GEN}/api.pb-c.c)
set_source_files_properties(${CRI_SOURCES} PROPERTIES COMPILE_OPTIONS "-w")
