dpn_unit_test(NAME test_spec SOURCES test_spec.c ROOMS spec options base)
dpn_embed(test_spec machine_sh ${DPN_MACHINE_SCRIPT})
dpn_unit_test(NAME test_machine_script SOURCES test_machine_script.c ROOMS base)
dpn_embed(test_machine_script machine_sh ${DPN_MACHINE_SCRIPT})
target_compile_definitions(test_machine_script PRIVATE
  MACHINE_SCRIPT="${PROJECT_BINARY_DIR}/embedded/test_machine_script/machine_sh.h.text")
