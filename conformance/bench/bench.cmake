# The load program of conformance/bench/run: target `bench`, built only when asked for.
file(GLOB bench_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/conformance/bench/*.c)
add_executable(bench EXCLUDE_FROM_ALL ${bench_sources} ${CMAKE_SOURCE_DIR}/cmd/options.c)
target_link_libraries(bench PRIVATE node)
set_target_properties(bench PROPERTIES LINKER_LANGUAGE CXX)
