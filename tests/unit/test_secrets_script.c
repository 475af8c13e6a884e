/* src/spec/secrets.sh, run by each shell there is, against directories like Nomad's and DevPod's. */
#include "unit.h"

#include "buf.h"
#include "mem.h"
#include "secrets_sh.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>

static const char *const shells[] = {"sh", "dash", "bash", "busybox sh"};

/* The values that a person may find in their Vault, as Nomad's template writes them. */
#define SECRETS "export A='it'\\''s \"$(id)\" `id` \\\\n {{ ${x}\nsecond line'\n"

/*
 * Every case begins with a machine of two workspaces, one of them a git repository, and goes round the loop
 * once for each line of $rounds, which is run before it goes on.
 */
static const char preamble[] =
	"set -u; umask 022; LC_ALL=C; top=$(mktemp -d) || exit 9; trap 'rm -rf \"$top\"' EXIT\n"
	"dir=$top/machine; DEVPOD_MACHINE_DATA=$dir/agent/data; NOMAD_SECRETS_DIR=$top/secrets; "
	"one=$dir/agent/data/contexts/default/workspaces/one/content\n"
	"two=$dir/agent/data/contexts/other/workspaces/two/content\n"
	"mkdir -p \"$NOMAD_SECRETS_DIR\" \"$one\" \"$two/.git/info\"; touch \"$one/file\" "
	"\"$two/.git/index\"\n"
	"say() { echo \"machine: $*\" | sed \"s,$dir,DIR,\"; }\n"
	"rounds=; sleep() { next=$(printf '%s\\n' \"$rounds\" | sed -n 1p); [ -n \"$next\" ] || exit 0\n"
	"rounds=$(printf '%s\\n' \"$rounds\" | sed 1d); eval \"$next\"; }\n"
	"keep() ( keep_secrets )\n"
	/* only root can give files away; others see that the owner is theirs */
	"give() { [ \"$(id -u)\" != 0 ] || chown \"$1\" \"$2\"; }\n"
	"owner() { [ \"$(stat -c %u:%g \"$1\")\" = \"$(stat -c %u:%g \"$2\")\" ] && stat -c %a \"$1\"; }\n"
	"printf '%s' \"$SECRETS\" >\"$NOMAD_SECRETS_DIR/vault-1.sh\"\n"
	". \"$SCRIPT\"\n";

static bool in_path(const char *shell)
{
	AUTO(freep) char *command = xasprintf("command -v %s >/dev/null 2>&1", shell);

	return system(command) == 0; /* NOLINT(cert-env33-c): the names are in this file */
}

static void run_in(const char *shell, const char *test, const char *expected)
{
	char file[] = "/tmp/test_secrets_XXXXXX";
	AUTO(buf_clear) struct buf out = BUF_INIT;
	int fd = mkstemp(file);
	char piece[4096];
	size_t n;

	assert_true(fd >= 0);
	FILE *f = fdopen(fd, "w");
	fprintf(f, "%s%s", preamble, test);
	assert_int_equal(fclose(f), 0);
	AUTO(freep) char *command = xasprintf("%s %s 2>&1", shell, file);
	FILE *p = popen(command, "r"); /* NOLINT(cert-env33-c) */
	while ((n = fread(piece, 1, sizeof piece, p)) > 0)
		assert_int_equal(buf_add(&out, piece, n), 0);
	int status = pclose(p);
	remove(file);
	if (strcmp(buf_str(&out), expected) != 0)
		fail_msg("%s: %s", shell, buf_str(&out));
	assert_int_equal(status, 0);
}

static void run(const char *test, const char *expected)
{
	setenv("SCRIPT", SOURCE_DIR "/src/spec/secrets.sh", 1);
	setenv("SECRETS", SECRETS, 1);
	for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
		char *word = xstrndup(shells[i], strcspn(shells[i], " "));
		bool there = in_path(word);

		free(word);
		if (there)
			run_in(shells[i], test, expected);
	}
}

/* Nomad hands driver configs to HCL, where these begin a template. */
static void no_template_marks(void **state)
{
	(void)state;
	assert_null(strstr(secrets_sh, "${"));
	assert_null(strstr(secrets_sh, "%{"));
}

static void every_workspace_gets_them(void **state)
{
	(void)state;
	run("give 12:34 \"$one\"; keep\n"
	    "cmp \"$NOMAD_SECRETS_DIR/vault-1.sh\" \"$one/.vault-secrets\" && cmp \"$one/.vault-secrets\" "
	    "\"$two/.vault-secrets\"\n"
	    "owner \"$one/.vault-secrets\" \"$one\"; owner \"$two/.vault-secrets\" \"$two\"; cat "
	    "\"$two/.git/info/exclude\"\n"
	    "ls -A \"$one\" \"$two\" \"$two/.git/info\" | sed \"s,$top/machine/,,\"\n",
	    "600\n600\n/.vault-secrets\n"
	    "agent/data/contexts/default/workspaces/one/content:\n.vault-secrets\nfile\n\n"
	    "agent/data/contexts/other/workspaces/two/content:\n.git\n.vault-secrets\n\n"
	    "agent/data/contexts/other/workspaces/two/content/.git/info:\nexclude\n");
}

static void shells_get_the_values(void **state)
{
	(void)state;
	run("keep; unset A; for s in sh dash bash zsh; do\n"
	    "if command -v $s >/dev/null; then $s -c '. \"$0\"; sh -c \"printf %s. \\\"\\$A\\\"\"' "
	    "\"$one/.vault-secrets\" "
	    "|| exit 7; else printf '%s' 'it'\\''s \"$(id)\" `id` \\\\n {{ ${x}\nsecond line.'; fi; done\n",
	    "it's \"$(id)\" `id` \\\\n {{ ${x}\nsecond line.it's \"$(id)\" `id` \\\\n {{ ${x}\nsecond line."
	    "it's \"$(id)\" `id` \\\\n {{ ${x}\nsecond line.it's \"$(id)\" `id` \\\\n {{ ${x}\nsecond line.");
}

static void what_comes_later(void **state)
{
	(void)state;
	/* a rotation, a second secret, a workspace, one that was spoilt, and an owner that DevPod changes */
	run("three=$dir/agent/data/contexts/default/workspaces/three/content\n"
	    "rounds='echo \"export A=2\" >\"$NOMAD_SECRETS_DIR/vault-1.sh\"; echo \"export B=3\" "
	    ">\"$NOMAD_SECRETS_DIR/vault-2.sh\"\n"
	    "cat \"$one/.vault-secrets\"; mkdir -p \"$three\"; touch \"$three/x\"; rm "
	    "\"$one/.vault-secrets\"; echo "
	    ">>\"$two/.vault-secrets\"; chmod 644 \"$two/.vault-secrets\"\n"
	    "cat \"$three/.vault-secrets\" \"$one/.vault-secrets\"; cmp \"$one/.vault-secrets\" "
	    "\"$two/.vault-secrets\"; stat -c %a \"$two/.vault-secrets\"; give 5:6 \"$one\"\n"
	    "owner \"$one/.vault-secrets\" \"$one\"; grep -c vault \"$two/.git/info/exclude\"'\n"
	    "keep\n",
	    "export A=2\nexport B=3\nexport A=2\nexport B=3\nexport A=2\nexport B=3\n600\n600\n1\n");
}

/* DevPod clones into the directory, and git wants it empty. */
static void not_before_the_clone(void **state)
{
	(void)state;
	run("rm \"$one/file\" \"$two/.git/index\"\n"
	    "rounds='ls -A \"$one\" \"$two\" | grep vault; touch \"$two/.git/index\" \"$one/.file\"\n"
	    "ls -A \"$one\" \"$two\" | grep -c vault'\n"
	    "keep\n",
	    "2\n");
}

static void exclude_is_kept(void **state)
{
	(void)state;
	run("printf 'mine\\nno newline' >\"$two/.git/info/exclude\"; give 7:8 \"$two/.git/info\"; keep; cat "
	    "\"$two/.git/info/exclude\"; owner \"$two/.git/info/exclude\" \"$two/.git/info\"; rm -r "
	    "\"$two/.git/info\" "
	    "\"$two/.vault-secrets\"; "
	    "keep; cat \"$two/.git/info/exclude\"\n",
	    "mine\nno newline\n/.vault-secrets\n644\n/.vault-secrets\n");
}

/* What hostile content plants is neither written to nor gone into. */
static void links_are_not_followed(void **state)
{
	(void)state;
	run("mkdir \"$top/out\"; echo kept >\"$top/out/file\"; ln -s \"$top/out/file\" "
	    "\"$one/.vault-secrets\"\n"
	    "ln -s \"$top/out\" \"$two/.vault-secrets\"; rm -r \"$two/.git/info\"; ln -s \"$top/out\" "
	    "\"$two/.git/info\"\n"
	    "keep; cat \"$top/out/file\"; ls -A \"$top/out\"; stat -c %F \"$one/.vault-secrets\" "
	    "\"$two/.vault-secrets\"\n"
	    "rm -r \"$two/.vault-secrets\" \"$two/.git/info\"; mkdir \"$two/.git/info\"; ln -s "
	    "../../../../file "
	    "\"$two/.git/info/exclude\"; keep; stat -c %F \"$two/.git/info/exclude\"; ls -A "
	    "\"$top/out\"\n"
	    "mv \"$two/.git\" \"$top/out/git\"; ln -s \"$top/out/git\" \"$two/.git\"; rm "
	    "\"$top/out/git/info/exclude\" "
	    "\"$two/.vault-secrets\"; keep; ls -A \"$top/out/git/info\"; stat -c %F \"$two/.vault-secrets\"\n"
	    "mv \"$two\" \"$top/out/w\"; ln -s \"$top/out/w\" \"$two\"; rm \"$top/out/w/.vault-secrets\"; "
	    "keep; ls -A "
	    "\"$top/out/w\"\n",
	    "kept\nfile\nregular file\nregular file\nsymbolic link\nfile\nregular file\n"
	    "machine: warning: .vault-secrets cannot be written in "
	    "DIR/agent/data/contexts/other/workspaces/two/content\n.git\n");
}

static void a_directory_in_the_way(void **state)
{
	(void)state;
	run("mkdir \"$one/.vault-secrets\"; rounds='true\ntrue'\nkeep; ls -A \"$one\" "
	    "\"$one/.vault-secrets\" | grep "
	    "-v : ; "
	    "ls \"$two/.vault-secrets\" | sed 's,.*/,,'\n",
	    "machine: warning: .vault-secrets cannot be written in "
	    "DIR/agent/data/contexts/default/workspaces/one/"
	    "content\n.vault-secrets\nfile\n\n.vault-secrets\n");
}

static void the_data_may_be_behind_a_link(void **state)
{
	(void)state;
	run("ln -s machine \"$top/link\"; DEVPOD_MACHINE_DATA=$top/link/agent/data; keep; stat -c %a "
	    "\"$one/.vault-secrets\"\n",
	    "600\n");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(no_template_marks),
	cmocka_unit_test(every_workspace_gets_them),
	cmocka_unit_test(shells_get_the_values),
	cmocka_unit_test(what_comes_later),
	cmocka_unit_test(not_before_the_clone),
	cmocka_unit_test(exclude_is_kept),
	cmocka_unit_test(links_are_not_followed),
	cmocka_unit_test(a_directory_in_the_way),
	cmocka_unit_test(the_data_may_be_behind_a_link),
};

UNIT_MAIN(tests)
