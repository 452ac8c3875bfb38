# The key management service of conformance/workflows/46-encryption.bats.
add_executable(kms-plugin conformance/kms/plugin.c)
target_link_libraries(kms-plugin PRIVATE storage)
set_target_properties(kms-plugin PROPERTIES LINKER_LANGUAGE CXX)
