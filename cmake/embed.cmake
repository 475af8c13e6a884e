# dpn_embed(TARGET NAME FILE): TARGET can include "NAME.h", which has `static const char NAME[]`: the file's text,
# NUL-terminated, without the comment lines.
function(dpn_embed target name file)
  set(_dir "${PROJECT_BINARY_DIR}/embedded/${target}")
  add_custom_command(OUTPUT "${_dir}/${name}.h"
    COMMAND "${CMAKE_COMMAND}" "-DFROM=${PROJECT_SOURCE_DIR}/${file}" "-DTO=${_dir}/${name}.h" -DNAME=${name}
            -P "${PROJECT_SOURCE_DIR}/cmake/embed_file.cmake"
    DEPENDS "${PROJECT_SOURCE_DIR}/${file}" "${PROJECT_SOURCE_DIR}/cmake/embed_file.cmake" VERBATIM)
  target_sources(${target} PRIVATE "${_dir}/${name}.h")
  target_include_directories(${target} PRIVATE "${_dir}")
endfunction()
