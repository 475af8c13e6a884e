dpn_unit_test(NAME test_base64 SOURCES test_base64.c ROOMS base)
dpn_unit_test(NAME test_websocket SOURCES test_websocket.c ROOMS nomad base)
# frame.h, marks.h, pump.h and the embedded script are the room's own
foreach(_test test_frame test_lines test_marks test_stream_pump test_stream_bootstrap)
  dpn_unit_test(NAME ${_test} SOURCES ${_test}.c ROOMS stream nomad base)
  target_include_directories(${_test} PRIVATE "${PROJECT_SOURCE_DIR}/src/stream"
    "${PROJECT_BINARY_DIR}/embedded/dpn_stream")
endforeach()
