dpn_unit_test(NAME test_volume SOURCES test_volume.c ROOMS nomad base)
dpn_unit_test(NAME test_vault SOURCES test_vault.c ROOMS vault base)
