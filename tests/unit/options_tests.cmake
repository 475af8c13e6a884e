dpn_unit_test(NAME test_options SOURCES test_options.c ROOMS options base)
dpn_unit_test(NAME test_options_file SOURCES test_options_file.c ROOMS options base)
dpn_unit_test(NAME test_text SOURCES test_text.c ROOMS base)
dpn_unit_test(NAME test_base SOURCES test_base.c ROOMS base)
