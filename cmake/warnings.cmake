# Warnings that this compiler has, each checked; errors only where DPN_WERROR says so (CI).
include(CheckCCompilerFlag)
include(CheckLinkerFlag)

set(_wanted
  -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith
  -Wwrite-strings -Wcast-align -Wcast-qual -Wundef -Wvla -Wformat=2 -Wformat-nonliteral -Wnull-dereference
  -Wimplicit-fallthrough -Wconversion -Wsign-conversion -Wduplicated-cond -Wduplicated-branches -Wlogical-op
  -Wno-gnu-statement-expression -Wno-gnu-zero-variadic-macro-arguments)
set(DPN_WARNING_FLAGS "")
foreach(_flag IN LISTS _wanted)
  string(MAKE_C_IDENTIFIER "HAVE${_flag}" _have)
  # gcc accepts any -Wno-…: ask for the positive form
  string(REPLACE "-Wno-" "-W" _ask "${_flag}")
  check_c_compiler_flag("${_ask}" ${_have})
  if(${_have})
    list(APPEND DPN_WARNING_FLAGS "${_flag}")
  endif()
endforeach()

function(dpn_warnings target)
  # -Wpedantic refuses statement expressions in gcc; TAKE() is the one there is, and says __extension__
  target_compile_options(${target} PRIVATE ${DPN_WARNING_FLAGS}
    -include "${PROJECT_SOURCE_DIR}/include/base/banned.h")
  if(DPN_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(DPN_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined -fno-sanitize-recover=all
      -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=address,undefined)
  endif()
  if(DPN_COVERAGE)
    target_compile_options(${target} PRIVATE --coverage)
    target_link_options(${target} PRIVATE --coverage)
  endif()
endfunction()
