dpn_unit_test(NAME test_spec SOURCES test_spec.c ROOMS spec options base)
dpn_embed(test_spec machine_sh src/spec/machine.sh)
dpn_unit_test(NAME test_machine_script SOURCES test_machine_script.c ROOMS base)
dpn_embed(test_machine_script machine_sh src/spec/machine.sh)
