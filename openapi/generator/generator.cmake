# The schema generator and what it writes: tables (tables*.c, resources.c, messages.h) and view structs (views.h).
set(SCHEMA_OUT ${CMAKE_BINARY_DIR}/gen/openapi)
file(MAKE_DIRECTORY ${SCHEMA_OUT})
file(GLOB generator_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/openapi/generator/*_gen.c)
file(GLOB_RECURSE schema_yaml CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/openapi/schema/*.yaml)

add_executable(skiff-schema-gen ${generator_sources})
target_link_libraries(skiff-schema-gen PRIVATE yaml)

set(SCHEMA_SOURCES ${SCHEMA_OUT}/tables.c ${SCHEMA_OUT}/resources.c)
file(GLOB schema_versions CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/openapi/schema/*/*.yaml)
foreach(file ${schema_versions})
  file(RELATIVE_PATH id ${CMAKE_SOURCE_DIR}/openapi/schema ${file})
  string(REGEX REPLACE "[/]" "_" id ${id})
  string(REGEX REPLACE "\\.yaml$" "" id ${id})
  list(APPEND SCHEMA_SOURCES ${SCHEMA_OUT}/tables_${id}.c)
endforeach()
set(schema_headers ${SCHEMA_OUT}/views.h ${SCHEMA_OUT}/messages.h)

add_custom_command(
  OUTPUT ${SCHEMA_SOURCES} ${schema_headers}
  COMMAND ${CMAKE_COMMAND} -E env ASAN_OPTIONS=detect_leaks=0
          $<TARGET_FILE:skiff-schema-gen> ${CMAKE_SOURCE_DIR}/openapi/schema ${SCHEMA_OUT}
  DEPENDS skiff-schema-gen ${schema_yaml}
  COMMENT "API tables from openapi/schema"
  VERBATIM)
add_custom_target(schema-tables DEPENDS ${SCHEMA_SOURCES} ${schema_headers})
