/* What the machine's script (src/spec/machine*.sh) may not contain, how it behaves without docker, and its
 * functions that need neither root nor docker, each in every shell that a machine's image may have as
 * /bin/sh. What it does with docker runs in tests/e2e. */
#include "unit.h"

#include "buf.h"
#include "machine_sh.h"
#include "mem.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Nomad hands driver configs to HCL, where these begin a template (hclutils.ParseHclInterface). */
static void no_template_marks(void **state)
{
	(void)state;
	assert_null(strstr(machine_sh, "${"));
	assert_null(strstr(machine_sh, "%{"));
}

/* The kernel's limit for one argument is 128 KiB; Nomad keeps the job's versions. */
static void is_small(void **state)
{
	(void)state;
	assert_true(sizeof(machine_sh) < 32768);
}

/* Runs `line` with sh; its output, standard error included. */
static char *output_of(const char *line, int *ret_status)
{
	struct buf out = BUF_INIT;
	FILE *f = popen(line, "r"); /* NOLINT(cert-env33-c): fixed words */
	char piece[4096];
	size_t n;

	assert_non_null(f);
	while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
		assert_int_equal(buf_add(&out, piece, n), 0);
	int status = pclose(f);
	*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	buf_puts(&out, ""); /* never NULL */
	return buf_take(&out);
}

static const char *const shells[] = {"dash", "bash", "busybox sh"};

/* Runs `part` of the whole script in each shell, with `env` before it; all must fail with `message`. */
static void part_fails(const char *part, const char *env, const char *message)
{
	for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
		AUTO(freep)
		char *line = xasprintf("%s %s '%s' %s 2>&1", env, shells[i], MACHINE_SCRIPT, part);
		int status;
		AUTO(freep) char *out = output_of(line, &status);

		if (status != 1 || strcmp(out, message) != 0)
			fail_msg("%s: exit code %d, output: %s", line, status, out);
	}
}

/* The functions, sourced in an empty directory; the sourced files and the words after them are one shell's
 * -c argument, in single quotes. */
static void function_says(const char *words, int status, const char *output)
{
	for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
		char dir[] = "/tmp/machine-script-XXXXXX";
		assert_non_null(mkdtemp(dir));
		AUTO(freep)
		char *line = xasprintf(
			"cd %s && DEVPOD_MACHINE_DIR=$PWD/machine DEVPOD_DOCKER_MODE=dind DOCKER_HOST= "
			"NOMAD_ALLOC_ID= NOMAD_META_devpod_start=s1 %s -c 'for f in base docker layout "
			"install trust dind retire; do "
			". \"" SOURCE_DIR "/src/spec/machine_$f.sh\"; done; root=$PWD; %s' 2>&1; "
			"code=$?; cd / && rm -rf %s; exit $code",
			dir, shells[i], words, dir);
		int code;
		AUTO(freep) char *out = output_of(line, &code);

		if (code != status || strcmp(out, output) != 0)
			fail_msg("%s: %s: exit code %d, output: %s", shells[i], words, code, out);
	}
}

static void wrong_part_fails(void **state)
{
	(void)state;
	part_fails("nonsense", "DEVPOD_MACHINE_DIR=/nowhere/x", "machine: error: unknown part 'nonsense'\n");
}

static void wrong_mode_fails(void **state)
{
	(void)state;
	part_fails("run", "DEVPOD_MACHINE_DIR=/nowhere/x DEVPOD_DOCKER_MODE=podman",
		   "machine: error: DEVPOD_DOCKER_MODE is neither host nor dind but 'podman'\n");
}

static void without_docker_fails(void **state)
{
	static const char env[] = "DEVPOD_MACHINE_DIR=/nowhere/x DOCKER_HOST=unix:///nowhere.sock";

	(void)state;
	part_fails("run", env,
		   "machine: error: /nowhere.sock is no socket: does docker on this client listen there?\n");
	part_fails("stopped", env, "machine: error: /nowhere.sock is no socket\n");
}

static void delete_refuses_a_bad_directory(void **state)
{
	(void)state;
	part_fails("delete", "DEVPOD_MACHINE_DIR=/ DOCKER_HOST=unix:///nowhere.sock",
		   "machine: error: '/' is no machine's directory\n");
	part_fails("delete", "DEVPOD_MACHINE_DIR= DOCKER_HOST=unix:///nowhere.sock",
		   "machine: error: '' is no machine's directory\n");
	part_fails("delete", "DEVPOD_MACHINE_DIR=relative DOCKER_HOST=unix:///nowhere.sock",
		   "machine: error: 'relative' is no machine's directory\n");
}

#define LAYOUT "mkdir -p \"$dir\"; cd machine; "

static void layout_is_written_once(void **state)
{
	(void)state;
	function_says(LAYOUT "check_layout; write_layout; cat .layout; check_layout; write_layout; ls -A", 0,
		      "layout 1\ndocker dind\nstart s1\n.layout\n");
}

static void layout_of_an_older_provider(void **state)
{
	(void)state;
	function_says(LAYOUT "mkdir docker; check_layout; write_layout; cat .layout", 0,
		      "layout 1\ndocker dind\nstart s1\n");
	function_says(LAYOUT "mkdir agent; docker_mode=host; check_layout; write_layout; cat .layout", 0,
		      "layout 1\ndocker host\nstart s1\n");
}

#define OTHER_MODE(was, is)                                                                                  \
	"machine: error: this machine was made with NOMAD_DOCKER_MODE=" was                                  \
	", its devcontainers are there, and now it is " is                                                   \
	": set it back, or delete the machine and create it anew\n"

static void expected_data_must_be_there(void **state)
{
	(void)state;
	function_says(LAYOUT "dir=/nowhere/m; expect_data=1; check_data", 66,
		      "machine: error: /nowhere/m on this node is empty: the machine's data are not here\n");
	function_says(LAYOUT "expect_data=1; mkdir agent; check_data; echo there", 0, "there\n");
	function_says(LAYOUT "expect_data=; check_data; echo new", 0, "new\n");
}

/* What a failed start takes back is what it made. */
static void earlier_data_stay(void **state)
{
	(void)state;
	function_says(LAYOUT "only_of=s1; write_layout; is_of_other_start || echo ours", 0, "ours\n");
	function_says(LAYOUT "only_of=s2; write_layout; is_of_other_start && echo stays", 0, "stays\n");
	function_says(LAYOUT "only_of=s1; mkdir agent; is_of_other_start 2>/dev/null && echo stays", 0,
		      "stays\n");
	function_says(LAYOUT "only_of=s1; is_of_other_start || echo ours", 0, "ours\n");
	function_says(LAYOUT "only_of=; write_layout; is_of_other_start || echo all", 0, "all\n");
}

static void layout_refuses_the_other_mode(void **state)
{
	(void)state;
	function_says(LAYOUT "mkdir agent; check_layout", 1, OTHER_MODE("host", "dind"));
	function_says(LAYOUT "mkdir agent docker; docker_mode=host; check_layout", 1,
		      OTHER_MODE("dind", "host"));
	function_says(LAYOUT "printf \"layout 1\\ndocker host\\n\" >.layout; mkdir docker; check_layout", 1,
		      OTHER_MODE("host", "dind"));
}

static void layout_refuses_what_it_does_not_know(void **state)
{
	(void)state;
	function_says(LAYOUT "printf \"layout 2\\ndocker dind\\n\" >.layout; dir=/m; cd ..; mv machine m; "
			     "dir=m; check_layout",
		      1,
		      "machine: error: m has layout 2, this provider knows 1: use the newer provider that "
		      "wrote it, or "
		      "delete the machine\n");
	function_says(
		LAYOUT
		"dir=.; for text in \"\" \"layout\" \"layout x\\ndocker dind\\n\" \"layout 1\\n\" "
		"\"something 1\\ndocker dind\\n\"; do printf \"$text\" >.layout; (check_layout); done; true",
		0,
		"machine: error: ./.layout is not understood\nmachine: error: ./.layout is not understood\n"
		"machine: error: ./.layout is not understood\nmachine: error: ./.layout is not understood\n"
		"machine: error: ./.layout is not understood\n");
}

#define CGROUP(path, own)                                                                                    \
	"mkdir -p proc/self sys/fs/cgroup" own "; echo \"0::" path "\" >proc/self/cgroup; "                  \
	"echo \"cpu memory\" >sys/fs/cgroup/cgroup.controllers; cd sys/fs/cgroup" own "; "                   \
	"echo \"cpu memory pids\" >cgroup.controllers; printf \"1\\n7\\n\" >cgroup.procs; "
#define CGROUP_SHOW "echo \"$cgroup_parent\"; cat machine/cgroup.procs cgroup.subtree_control"

static void cgroup_v2_of_its_own(void **state)
{
	(void)state;
	function_says(CGROUP("/", "") "prepare_cgroup; " CGROUP_SHOW, 0,
		      "/docker\n1\n7\n+cpu\n+memory\n+pids\n");
}

static void cgroup_v2_in_the_hosts_tree(void **state)
{
	(void)state;
	function_says(
		CGROUP("/nomad.slice/a.scope", "/nomad.slice/a.scope") "prepare_cgroup; " CGROUP_SHOW
								       "; ls ../..",
		0,
		"/nomad.slice/a.scope/docker\n1\n7\n+cpu\n+memory\n+pids\ncgroup.controllers\nnomad.slice\n");
}

static void cgroup_v2_elsewhere_fails(void **state)
{
	(void)state;
	function_says(CGROUP("/../other", "") "prepare_cgroup", 1,
		      "machine: error: the container's cgroup ('/../other') is not below its /sys/fs/cgroup: "
		      "Nomad's limits would not hold for the devcontainers\n");
}

static void cgroup_v2_undivided_is_said(void **state)
{
	(void)state;
	function_says(
		CGROUP("/", "") "mkdir cgroup.subtree_control; prepare_cgroup", 0,
		"machine: warning: cgroup v2: not divided after 5 attempts: cpu memory pids; limits that a "
		"devcontainer sets itself for these do not work\n");
}

static void cgroup_v1_is_left_alone(void **state)
{
	(void)state;
	function_says(
		"mkdir -p sys/fs/cgroup/memory; prepare_cgroup; echo \"$cgroup_parent\"; find sys -type f", 0,
		"/docker\n");
}

static void image_key_tells_images_apart(void **state)
{
	(void)state;
	function_says(
		"mkdir -p etc var/lib/dpkg; echo x >etc/os-release; image_key git; echo none; "
		"echo a >var/lib/dpkg/status; a=$(image_key git); [ $(printf %s \"$a\" | wc -c) = 64 ] && "
		"echo whole; "
		"[ \"$(image_key git)\" = \"$a\" ] && echo same; "
		"[ \"$(image_key curl)\" = \"$a\" ] || echo lacks other; "
		"echo y >etc/os-release; b=$(image_key git); [ \"$a\" = \"$b\" ] || echo other release; "
		"echo b >var/lib/dpkg/status; [ \"$b\" = \"$(image_key git)\" ] || echo other packages",
		0, "none\nwhole\nsame\nlacks other\nother release\nother packages\n");
}

/* An image without `hc-tool`; what an installation makes; a new container of the image. */
#define IMAGE                                                                                                \
	"umask 077; tools=$PWD.tools root=$PWD/image missing=hc-tool wanted=; bare() { rm -rf \"$root\"; "   \
	"mkdir -p \"$root/bin\" \"$root/var/lib/dpkg\" \"$root/var/cache\"; cd \"$root\"; : >.dockerenv; "   \
	"echo before >var/lib/dpkg/status; }; PATH=$root/bin:$PATH; trap \"rm -rf $tools\" EXIT; bare; "     \
	"began=$(date +%s); "
#define INSTALL(code)                                                                                        \
	"printf \"#!/bin/sh\\nexit " code                                                                    \
	"\\n\" >bin/hc-tool; chmod 755 bin/hc-tool; ln -s hc-tool \"bin/a link\"; "                          \
	"echo after >var/lib/dpkg/status; echo x >var/cache/archive; keep_installed KEY $began; bare; "
#define SHOW "ls bin; cat var/lib/dpkg/status; ls var/cache; ls \"$tools\""

static void what_was_installed_is_kept(void **state)
{
	(void)state;
	function_says(IMAGE INSTALL("0") "restore_kept KEY && " SHOW
					 "; ls \"$tools/kept\"; stat -c %a bin/hc-tool",
		      0,
		      "a "
		      "link\nhc-tool\nafter\nkept\ndirectories.tar\nfiles.tar\nkey\nlarge\nlinked\npackages."
		      "tar\nwithout\n755\n");
}

static void a_large_program_is_linked_to(void **state)
{
	(void)state;
	function_says(IMAGE "linked_bytes=10; " INSTALL(
			      "0") "restore_kept KEY && ls bin; "
				   "[ \"$(readlink bin/hc-tool)\" = \"$tools/kept/large/./bin/hc-tool\" ] && "
				   "echo linked; hc-tool && echo runs",
		      0, "a link\nhc-tool\nlinked\nruns\n");
	function_says(
		IMAGE "linked_bytes=10; " INSTALL("1") "restore_kept KEY || " SHOW, 0,
		"machine: warning: what was kept of the last installation does not work and is removed\n"
		"a link\nbefore\n");
}

static void kept_of_another_image_goes(void **state)
{
	(void)state;
	function_says(IMAGE INSTALL("0") "restore_kept OTHER || " SHOW, 0, "before\n");
	function_says(IMAGE INSTALL("0") "restore_kept \"\" || " SHOW, 0, "before\n");
}

/* The package database is not restored with it: the installation that follows must not think all is there. */
static void kept_that_does_not_run_goes(void **state)
{
	(void)state;
	function_says(
		IMAGE INSTALL("1") "restore_kept KEY || " SHOW, 0,
		"machine: warning: what was kept of the last installation does not work and is removed\n"
		"a link\nhc-tool\nbefore\n");
}

static void half_kept_is_not_used(void **state)
{
	(void)state;
	function_says(IMAGE INSTALL("0") "mv \"$tools/kept\" \"$tools/kept.new\"; restore_kept KEY || " SHOW,
		      0, "before\n");
}

static void too_much_is_not_kept(void **state)
{
	(void)state;
	function_says(IMAGE "kept_bytes=10; " INSTALL("0") SHOW, 0,
		      "machine: warning: what was installed is more than 10 bytes and is not kept for the "
		      "next start\n"
		      "before\n");
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void containers_are_told_apart(void **state)
{
	(void)state;
	function_says("printf %s\\\\n \"[{\\\"Id\\\":\\\"" ID "\\\",\\\"Names\\\":[]},{\\\"Id\\\":\\\"" ID
		      "\\\",\\\"Labels\\\":{\\\"x\\\":\\\"\\\\\\\"Id\\\\\\\":\\\"}}]\" | split_containers | "
		      "container_ids",
		      0, ID "\n" ID "\n");
}

/* The registry's certificate; stand-ins for a family's own tool, and the tools of the test's shell, no
 * others. */
#define CERTIFICATE                                                                                          \
	"mkdir -p usr/local/share/ca-certificates; echo CERT "                                               \
	">usr/local/share/ca-certificates/registry.cluster.crt; "
#define ONLY(tool, code)                                                                                     \
	"mkdir -p etc/pki/ca-trust/source/anchors bin; printf \"#!/bin/sh\\necho " tool                      \
	" >>calls; exit " code "\\n\" >bin/" tool "; chmod 755 bin/" tool "; "
#define TRUST                                                                                                \
	"have() { [ -e bin/$1 ]; }; PATH=$PWD/bin:$PATH; trust_certificates; wait; cat calls 2>/dev/null; "  \
	"cat etc/pki/ca-trust/source/anchors/* etc/ssl/certs/* 2>/dev/null; true"

static void debian_and_alpine_trust_the_registry(void **state)
{
	(void)state;
	function_says(CERTIFICATE ONLY("update-ca-certificates", "0") TRUST, 0, "update-ca-certificates\n");
	function_says(CERTIFICATE ONLY("update-ca-certificates",
				       "0") ": >.dockerenv; mkdir -p etc/ssl/certs; "
					    "echo A >etc/ssl/certs/ca-certificates.crt; " TRUST,
		      0, "update-ca-certificates\nA\nCERT\n");
	function_says(CERTIFICATE ONLY("update-ca-certificates", "1") TRUST, 0,
		      "machine: warning: update-ca-certificates failed\nupdate-ca-certificates\n");
}

static void fedora_trusts_the_registry(void **state)
{
	(void)state;
	function_says(CERTIFICATE ONLY("update-ca-trust", "0") TRUST, 0, "update-ca-trust\nCERT\n");
	function_says(CERTIFICATE ONLY("update-ca-trust", "1") TRUST, 0,
		      "machine: warning: update-ca-trust failed\nupdate-ca-trust\nCERT\n");
}

static void an_image_that_trusts_nothing_is_told(void **state)
{
	(void)state;
	function_says(CERTIFICATE TRUST, 0,
		      "machine: warning: the image has neither update-ca-certificates nor update-ca-trust: "
		      "only docker "
		      "trusts the registry's certificate\n");
	function_says(TRUST, 0, "");
}

static void a_directory_is_no_certificate(void **state)
{
	(void)state;
	function_says("mkdir -p usr/local/share/ca-certificates/registry.cluster.crt; " ONLY(
			      "update-ca-certificates",
			      "0") "trust_certificates | sed \"s:$PWD::\"; cat calls 2>/dev/null; true",
		      0,
		      "machine: warning: the client has no file "
		      "/usr/local/share/ca-certificates/registry.cluster.crt, docker "
		      "made a directory of it: the registry's certificate is not trusted\n");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(no_template_marks),
	cmocka_unit_test(is_small),
	cmocka_unit_test(wrong_part_fails),
	cmocka_unit_test(wrong_mode_fails),
	cmocka_unit_test(without_docker_fails),
	cmocka_unit_test(delete_refuses_a_bad_directory),
	cmocka_unit_test(layout_is_written_once),
	cmocka_unit_test(layout_of_an_older_provider),
	cmocka_unit_test(expected_data_must_be_there),
	cmocka_unit_test(earlier_data_stay),
	cmocka_unit_test(layout_refuses_the_other_mode),
	cmocka_unit_test(layout_refuses_what_it_does_not_know),
	cmocka_unit_test(cgroup_v2_of_its_own),
	cmocka_unit_test(cgroup_v2_in_the_hosts_tree),
	cmocka_unit_test(cgroup_v2_elsewhere_fails),
	cmocka_unit_test(cgroup_v2_undivided_is_said),
	cmocka_unit_test(cgroup_v1_is_left_alone),
	cmocka_unit_test(image_key_tells_images_apart),
	cmocka_unit_test(what_was_installed_is_kept),
	cmocka_unit_test(a_large_program_is_linked_to),
	cmocka_unit_test(kept_of_another_image_goes),
	cmocka_unit_test(kept_that_does_not_run_goes),
	cmocka_unit_test(half_kept_is_not_used),
	cmocka_unit_test(too_much_is_not_kept),
	cmocka_unit_test(containers_are_told_apart),
	cmocka_unit_test(debian_and_alpine_trust_the_registry),
	cmocka_unit_test(fedora_trusts_the_registry),
	cmocka_unit_test(an_image_that_trusts_nothing_is_told),
	cmocka_unit_test(a_directory_is_no_certificate),
};

UNIT_MAIN(tests)
