# dpn_embed(TARGET NAME FILE...): TARGET can include "NAME.h", which has `static const char NAME[]`: the files' text one
# after another, NUL-terminated, without the comment lines. The same text is in NAME.h.text beside it.
function(dpn_embed target name)
  set(_dir "${PROJECT_BINARY_DIR}/embedded/${target}")
  list(TRANSFORM ARGN PREPEND "${PROJECT_SOURCE_DIR}/" OUTPUT_VARIABLE _files)
  list(JOIN _files "|" _from)
  add_custom_command(OUTPUT "${_dir}/${name}.h"
    COMMAND "${CMAKE_COMMAND}" "-DFROM=${_from}" "-DTO=${_dir}/${name}.h" -DNAME=${name}
            -P "${PROJECT_SOURCE_DIR}/cmake/embed_file.cmake"
    DEPENDS ${_files} "${PROJECT_SOURCE_DIR}/cmake/embed_file.cmake" VERBATIM)
  target_sources(${target} PRIVATE "${_dir}/${name}.h")
  target_include_directories(${target} PRIVATE "${_dir}")
endfunction()

# The machine's script. Functions first; the last file calls them.
set(DPN_MACHINE_SCRIPT src/spec/machine_base.sh src/spec/machine_docker.sh src/spec/machine_layout.sh
  src/spec/machine_install.sh src/spec/machine_trust.sh src/spec/machine_dind.sh src/spec/machine_retire.sh src/spec/machine.sh)
