/* What src/spec/machine.sh may not contain, and how it behaves without docker. Its main parts run in
 * tests/e2e. */
#include "unit.h"

#include "machine_sh.h"
#include "mem.h"

#include <sys/wait.h>

/* Nomad hands driver configs to HCL, where these begin a template (hclutils.ParseHclInterface). */
static void no_template_marks(void **state)
{
	(void)state;
	assert_null(strstr(machine_sh, "${"));
	assert_null(strstr(machine_sh, "%{"));
}

static int run(const char *shell, const char *part, const char *env)
{
	AUTO(freep) char *file = xasprintf("%s/src/spec/machine.sh", SOURCE_DIR);
	AUTO(freep) char *line = xasprintf("%s %s '%s' %s >/dev/null 2>&1", env, shell, file, part);
	int status = system(line); /* NOLINT(cert-env33-c): fixed words */

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void wrong_part_fails(void **state)
{
	(void)state;
	assert_int_equal(run("sh", "nonsense", "DEVPOD_MACHINE_DIR=/nowhere/x"), 1);
}

static void without_docker_fails(void **state)
{
	(void)state;
	assert_int_equal(run("sh", "run", "DEVPOD_MACHINE_DIR=/nowhere/x DOCKER_HOST=unix:///nowhere.sock"),
			 1);
	assert_int_equal(
		run("sh", "stopped", "DEVPOD_MACHINE_DIR=/nowhere/x DOCKER_HOST=unix:///nowhere.sock"), 1);
}

static void delete_refuses_a_bad_directory(void **state)
{
	(void)state;
	assert_int_equal(run("sh", "delete", "DEVPOD_MACHINE_DIR=/ DOCKER_HOST=unix:///nowhere.sock"), 1);
	assert_int_equal(run("sh", "delete", "DEVPOD_MACHINE_DIR= DOCKER_HOST=unix:///nowhere.sock"), 1);
	assert_int_equal(run("sh", "delete", "DEVPOD_MACHINE_DIR=relative DOCKER_HOST=unix:///nowhere.sock"),
			 1);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(no_template_marks),
	cmocka_unit_test(wrong_part_fails),
	cmocka_unit_test(without_docker_fails),
	cmocka_unit_test(delete_refuses_a_bad_directory),
};

UNIT_MAIN(tests)
