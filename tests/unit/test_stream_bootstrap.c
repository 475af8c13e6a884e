/* The script that runs in the machine, run here by each shell there is, as real processes without any Nomad.
 */
#include "unit.h"

#include "bootstrap_sh.h"
#include "bootstrap_tty_sh.h"
#include "buf.h"
#include "clock.h"
#include "lines.h"
#include "marks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NONCE "00112233445566778899aabbccddeeff"

static const char *const dash[] = {"dash", NULL}, *const bash[] = {"bash", "--posix", NULL},
			 *const busybox[] = {"busybox", "sh", NULL}, *const sh[] = {"/bin/sh", NULL};
static const char *const *const shells[] = {sh, dash, bash, busybox};

struct run {
	/* in */
	const char *command;
	const char *input; /* NULL = stdin at its end from the start */
	size_t input_len;
	bool close_input; /* after the input; else it stays open until both marks are here */
	bool no_goodbye;  /* hang up without the nonce */
	const char *head; /* instead of the nonce, the flag and the command */
	/* out */
	struct buf out, err; /* between the marks */
	int code, err_code;  /* of both marks; -1 = there was none */
	bool ready;
	int64_t rest_ms; /* from hanging up to the end of the process; -1 = longer than a second (it was
			    killed) */
};

static bool in_path(const char *name)
{
	AUTO(freep) char *command = xasprintf("command -v %s >/dev/null 2>&1", name);

	return system(command) == 0; /* NOLINT(cert-env33-c): the names are in this file */
}

static void add_head(struct buf *to, const struct run *r)
{
	if (r->head) {
		buf_puts(to, r->head);
		return;
	}
	buf_printf(to, NONCE " %d\n", r->input != NULL);
	for (const char *c = r->command; *c; c++)
		if (*c == '\n' || *c == '\\')
			buf_puts(to, *c == '\n' ? "\\n" : "\\\\");
		else if (buf_add(to, c, 1) < 0)
			abort();
	buf_puts(to, "\n");
}

static pid_t start(const char *const *shell, int fds[3])
{
	int in[2], out[2], err[2];

	assert_int_equal(pipe(in) | pipe(out) | pipe(err), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const char *argv[8] = {NULL};
		size_t n = 0;
		union {
			const char **in;
			char **out;
		} args = {argv};

		for (; shell[n]; n++)
			argv[n] = shell[n];
		argv[n++] = "-c";
		argv[n++] = bootstrap_sh;
		setpgid(0, 0);
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		signal(SIGPIPE, SIG_DFL);
		execvp(argv[0], args.out);
		_exit(99);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	fds[0] = in[1];
	fds[1] = out[0];
	fds[2] = err[0];
	for (int i = 0; i < 3; i++)
		assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
	return pid;
}

/* Return: false at the end of the stream. */
static bool take(int fd, struct marks *m, struct buf *to)
{
	char piece[65536];
	ssize_t n = read(fd, piece, sizeof(piece));

	if (n < 0)
		return errno == EAGAIN;
	struct marks_out o = marks_feed(m, piece, (size_t)n);
	assert_int_equal(buf_add(to, o.held, o.held_len) | buf_add(to, o.data, o.len), 0);
	return n > 0;
}

static void run(const char *const *shell, struct run *r)
{
	int fds[3];
	struct marks ready, marks[2];
	AUTO(buf_clear) struct buf in = BUF_INIT, banner = BUF_INIT;
	size_t sent = 0;
	bool open[2] = {true, true};

	r->out = r->err = (struct buf)BUF_INIT;
	pid_t pid = start(shell, fds);
	marks_init(&ready, "\036dpn-ready\n", false);
	marks_init(&marks[0], "\036" NONCE, true);
	marks_init(&marks[1], "\036" NONCE, true);
	add_head(&in, r);
	if (r->input)
		assert_int_equal(buf_add(&in, r->input, r->input_len), 0);
	while ((open[0] && !marks[0].found) || (open[1] && !marks[1].found)) {
		bool feed = ready.found && fds[0] >= 0 && sent < in.len;
		struct pollfd p[] = {{feed ? fds[0] : -1, POLLOUT, 0},
				     {open[0] ? fds[1] : -1, POLLIN, 0},
				     {open[1] ? fds[2] : -1, POLLIN, 0}};

		assert_true(poll(p, 3, 20000) > 0);
		if (p[0].revents) {
			ssize_t n = write(fds[0], in.data + sent, in.len - sent);

			sent = n > 0 ? sent + (size_t)n : in.len;
			if (sent == in.len && r->close_input) {
				close(fds[0]);
				fds[0] = -1;
			}
		}
		if (p[1].revents)
			open[0] = ready.found ? take(fds[1], &marks[0], &r->out)
					      : take(fds[1], &ready, &banner);
		if (p[2].revents)
			open[1] = take(fds[2], &marks[1], &r->err);
	}
	r->ready = ready.found;
	r->code = marks[0].found ? marks[0].code : -1;
	r->err_code = marks[1].found ? marks[1].code : -1;
	assert_int_equal(banner.len, 0);

	/* it stays until it is told that all of it has come */
	int64_t begin = clock_ms();
	if (r->code >= 0 && !r->close_input && !r->no_goodbye) {
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		if (r->input) {
			assert_int_equal(fcntl(fds[0], F_SETFL, 0), 0);
			assert_int_equal(write(fds[0], NONCE, 32), 32);
		}
	}
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	r->rest_ms = -1;
	while (clock_ms() < begin + 1000) {
		if (waitpid(pid, NULL, WNOHANG) == pid) {
			r->rest_ms = clock_ms() - begin;
			break;
		}
		poll(NULL, 0, 2);
	}
	kill(-pid, SIGKILL);
	if (r->rest_ms < 0)
		waitpid(pid, NULL, 0);
}

static void clear(struct run *r)
{
	buf_clear(&r->out);
	buf_clear(&r->err);
}

/* In every shell there is: what the command prints to stdout, and its code. */
static void check(const char *command, const char *input, const char *out, int code)
{
	for (size_t s = 0; s < ARRAY_SIZE(shells); s++) {
		struct run r = {.command = command, .input = input, .input_len = input ? strlen(input) : 0};

		if (!in_path(shells[s][0]))
			continue;
		run(shells[s], &r);
		if (out)
			assert_string_equal(buf_str(&r.out), out);
		assert_int_equal(r.code, code);
		assert_int_equal(r.err_code, code);
		assert_true(r.rest_ms >= 0);
		clear(&r);
	}
}

static void exit_codes(void **state)
{
	(void)state;
	check("true", NULL, "", 0);
	check("", NULL, "", 0);
	check("exit 3", NULL, "", 3);
	check("sh -c 'exit 126'", NULL, "", 126);
	check("no_such_command_here", NULL, "", 127);
	check("exit 130", NULL, "", 130);
	check("exit 255", NULL, "", 255);
	check("sh -c 'kill -9 $$'", NULL, "", 137);
	check("false; echo x", NULL, "x\n", 0);
}

static void exec_inside_the_command(void **state)
{
	(void)state;
	check("exec sh -c 'echo in; exit 7'", NULL, "in\n", 7);
	check("exec >/dev/null 2>&1 </dev/null; echo lost", NULL, "", 0);
	check("exec 1>&- 2>&-; exit 4", NULL, "", 4);
	check("set -e; false; echo not reached", NULL, "", 1);
	check("trap 'echo bye' EXIT; exit 5", NULL, "bye\n", 5);
}

static void syntax_errors(void **state)
{
	(void)state;
	check("if", NULL, "", 2);
	check("echo 'open", NULL, "", 2);
}

static void quoting(void **state)
{
	(void)state;
	check("echo 'a b' \"c  d\" e\\ f", NULL, "a b c  d e f\n", 0);
	check("printf '%s\\n' '\\n' 'a\\\\b' '\\0101' '%d' '\\c' x", NULL,
	      "\\n\na\\\\b\n\\0101\n%d\n\\c\nx\n", 0);
	check("cat <<'EOF'\n$x `y` \\z\n  two\nEOF\necho after", NULL, "$x `y` \\z\n  two\nafter\n", 0);
	check("  echo \t leading and trailing  \n\n", NULL, "leading and trailing\n", 0);
	check("# comment\necho x # y\n", NULL, "x\n", 0);
	check("echo *nothing-like-that*", NULL, "*nothing-like-that*\n", 0);
	check("printf %s \"$(printf 'x\\r\\ty')\" | wc -c | tr -d ' '", NULL, "4\n", 0);
}

/* All bytes but NUL and newline in a command, as words of a printf: 8-bit ones are letters to dash's inner
 * codes. */
static void any_byte(void **state)
{
	AUTO(buf_clear) struct buf command = BUF_INIT, expect = BUF_INIT;

	(void)state;
	buf_puts(&command, "printf %s '");
	for (int c = 1; c < 256; c++) {
		const char byte = (char)c;

		if (c == '\'')
			continue;
		assert_int_equal(buf_add(&command, &byte, 1) | buf_add(&expect, &byte, 1), 0);
	}
	buf_puts(&command, "é聁\xf0\x9f\x98\x80'");
	buf_puts(&expect, "é聁\xf0\x9f\x98\x80");
	check(buf_str(&command), NULL, buf_str(&expect), 0);
}

static void large_command(void **state)
{
	AUTO(buf_clear) struct buf command = BUF_INIT;

	(void)state;
	buf_puts(&command, "cat <<'EOF' | cksum\n");
	while (command.len < 200000)
		buf_puts(&command, "A line of text with \\ and 'quotes' in it.\n");
	AUTO(freep) char *text = xstrdup(strchr(buf_str(&command), '\n') + 1);
	buf_puts(&command, "EOF\n");

	FILE *f = fopen("bootstrap-large.tmp", "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	struct run r = {.command = "cksum <bootstrap-large.tmp"};
	run(sh, &r);
	unlink("bootstrap-large.tmp");
	check(buf_str(&command), NULL, buf_str(&r.out), 0);
	clear(&r);
}

static void nothing_leaks_into_the_command(void **state)
{
	(void)state;
	check("echo ${_dpn-none} $# ${1-none}; env | grep -c _dpn", NULL, "none 0 none\n0\n", 1);
	check("(: <&3) 2>/dev/null && echo open || echo none", NULL, "none\n", 0);
	check("set | grep -c " NONCE, NULL, "0\n", 1);
}

static void stdin_reaches_the_command(void **state)
{
	(void)state;
	check("read -r a; read -r b; printf '<%s>\\n' \"$a\" \"$b\"", "one\\n\ntwo\nthree",
	      "<one\\n>\n<two>\n", 0);
	check("head -c 3", "abcdef", "abc", 0);
	/* at its end from the start */
	check("cat; echo end", NULL, "end\n", 0);
	check("readlink /proc/self/fd/0", NULL, "/dev/null\n", 0);
}

static void binary_both_ways(void **state)
{
	const size_t n = 3000000;
	AUTO(freep) char *data = xmalloc(n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		data[i] = (char)(i * 2654435761U >> 13);
	for (size_t s = 0; s < ARRAY_SIZE(shells); s++) {
		struct run r = {
			.command = "tee /dev/stderr", .input = data, .input_len = n, .close_input = true};

		if (!in_path(shells[s][0]))
			continue;
		run(shells[s], &r);
		assert_int_equal(r.code, 0);
		assert_int_equal(r.out.len, n);
		assert_memory_equal(r.out.data, data, n);
		assert_int_equal(r.err.len, n);
		assert_memory_equal(r.err.data, data, n);
		clear(&r);
	}
}

/* What is left over of stdin is read away, so that whoever writes it is not held up. */
static void stdin_left_unread(void **state)
{
	const size_t n = 1000000;
	AUTO(freep) char *data = xcalloc(1, n);

	(void)state;
	struct run r = {.command = "echo done", .input = data, .input_len = n};
	run(sh, &r);
	assert_string_equal(buf_str(&r.out), "done\n");
	clear(&r);
}

static void background_processes(void **state)
{
	(void)state;
	int64_t begin = clock_ms();
	check("sleep 20 & echo started", NULL, "started\n", 0);
	check("(sleep 0.2; echo late) & echo started; wait", NULL, "started\nlate\n", 0);
	assert_true(clock_ms() - begin < 15000);
}

/* Only a stdin that was closed on the way leaves it in doubt whether all has come. */
static void lingers_only_in_doubt(void **state)
{
	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(shells); s++) {
		if (!in_path(shells[s][0]))
			continue;
		struct run told = {.command = "echo x", .input = "in", .input_len = 2};
		run(shells[s], &told);
		assert_true(told.rest_ms >= 0);
		clear(&told);
		struct run none = {.command = "echo x"};
		run(shells[s], &none);
		assert_true(none.rest_ms >= 0);
		clear(&none);
		struct run doubt = {.command = "cat", .input = "in", .input_len = 2, .close_input = true};
		run(shells[s], &doubt);
		assert_string_equal(buf_str(&doubt.out), "in");
		assert_int_equal(doubt.rest_ms, -1);
		clear(&doubt);
	}
}

/* A line that breaks off runs nothing. */
static void a_cut_head_runs_nothing(void **state)
{
	static const char *const heads[] = {"", NONCE, NONCE " 0", NONCE " 0\n",
					    NONCE " 0\necho ran >&2; touch bootstrap-ran.tmp"};

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(shells); s++) {
		if (!in_path(shells[s][0]))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
			int fds[3];
			char ready[64];
			pid_t pid = start(shells[s], fds);
			int status = 0;

			assert_int_equal(write(fds[0], heads[i], strlen(heads[i])), strlen(heads[i]));
			close(fds[0]);
			assert_int_equal(waitpid(pid, &status, 0), pid);
			assert_true(WIFEXITED(status));
			assert_int_equal(read(fds[1], ready, sizeof(ready)), 11);
			assert_memory_equal(ready, "\036dpn-ready\n", 11);
			assert_int_equal(read(fds[2], ready, sizeof(ready)), 0);
			close(fds[1]);
			close(fds[2]);
			assert_int_equal(access("bootstrap-ran.tmp", F_OK), -1);
		}
	}
}

/* -- with a terminal -- */

#define TTY_NONCE "01234567890123456789012345678901" /* decimal: a terminal may change letters */

struct tty {
	int fd; /* the pty's other end */
	pid_t pid;
	struct buf in; /* all that came … */
	size_t pos;    /* … and how far it has been looked at */
};

/* @no_stty: as in an image without it. */
static void tty_start(struct tty *t, const char *const *shell, bool no_stty)
{
	const struct winsize size = {.ws_row = 24, .ws_col = 80};
	AUTO(freep)
	char *script = xasprintf("%s%s", no_stty ? "stty() { return 127; }\n" : "", bootstrap_tty_sh);

	*t = (struct tty){.fd = posix_openpt(O_RDWR | O_NOCTTY)};
	assert_true(t->fd >= 0 && grantpt(t->fd) == 0 && unlockpt(t->fd) == 0);
	assert_int_equal(ioctl(t->fd, TIOCSWINSZ, &size), 0);
	AUTO(freep) char *name = xstrdup(ptsname(t->fd));
	t->pid = fork();
	assert_true(t->pid >= 0);
	if (t->pid == 0) {
		char *argv[8] = {NULL};
		size_t n = 0;

		for (; shell[n]; n++)
			argv[n] = xstrdup(shell[n]);
		argv[n++] = xstrdup("-c");
		argv[n++] = script;
		setsid();
		int fd = open(name, O_RDWR); /* a session's first terminal becomes its controlling one */
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		for (fd = 3; fd < 64; fd++)
			close(fd);
		for (int number = 1; number < 32; number++)
			signal(number, SIG_DFL);
		execvp(argv[0], argv);
		_exit(99);
	}
}

/* Until that text, with a code or without. Return: the code. What comes before goes to @to. */
static int tty_until(struct tty *t, const char *text, bool with_code, struct buf *to)
{
	struct marks m;

	marks_init(&m, text, with_code);
	for (;;) {
		struct pollfd p = {t->fd, POLLIN, 0};
		size_t n = t->in.len - t->pos;
		char piece[4096];

		if (n) {
			struct marks_out o = marks_feed(&m, t->in.data + t->pos, n);

			assert_int_equal(buf_add(to, o.held, o.held_len) | buf_add(to, o.data, o.len), 0);
			t->pos += m.found ? m.rest : n;
		}
		if (m.found)
			return m.code;
		assert_int_equal(poll(&p, 1, 20000), 1);
		ssize_t got = read(t->fd, piece, sizeof(piece));
		assert_true(got > 0);
		assert_int_equal(buf_add(&t->in, piece, (size_t)got), 0);
	}
}

static void tty_type(const struct tty *t, const char *keys)
{
	assert_int_equal(write(t->fd, keys, strlen(keys)), strlen(keys));
}

struct tty_case {
	const char *command, *out;
	int code;
	const char *wait,
		*keys; /* NULL, or: once the command has printed @wait, which @out lacks, @keys are typed */
};

static void tty_converse(const char *const *shell, bool no_stty, const struct tty_case *c)
{
	AUTO(buf_clear) struct buf head = BUF_INIT, ignored = BUF_INIT, out = BUF_INIT;
	struct tty t;

	tty_start(&t, shell, no_stty);
	tty_until(&t, "\036dpn-ready", false, &ignored);
	buf_puts(&head, TTY_NONCE " 33 101 screen\n");
	lines_many(&head, c->command);
	tty_type(&t, buf_str(&head));
	assert_int_equal(tty_until(&t, "\036" TTY_NONCE, true, &ignored), 0);
	if (c->wait) {
		tty_until(&t, c->wait, false, &out);
		tty_type(&t, c->keys);
	}
	int code = tty_until(&t, "\036" TTY_NONCE, true, &out);
	assert_string_equal(buf_str(&out), c->out);
	assert_int_equal(code, c->code);

	/* it stays until it is told that all has come, answers, and goes */
	assert_int_equal(waitpid(t.pid, NULL, WNOHANG), 0);
	tty_type(&t, "\n" TTY_NONCE "\n");
	assert_int_equal(tty_until(&t, "\036" TTY_NONCE, true, &ignored), 0);
	assert_int_equal(waitpid(t.pid, NULL, 0), t.pid);
	close(t.fd);
	buf_clear(&t.in);
}

static void tty_all(const char *const *shell)
{
	static const struct tty_case cases[] = {
		{"test -t 0 && test -t 1 && test -t 2 && echo $TERM; exit 7", "screen\r\n", 7, NULL, NULL},
		{"printf %s 'a\tb\003\032\\n%s\\\\é'\"'\"; exec sh -c 'exit 9'", "a\tb\003\032\\n%s\\\\é'", 9,
		 NULL, NULL},
		{"command stty -echo; echo go; read -r l; echo \"<$l>\"; exit 3", "\r\n<two>\r\n", 3, "go",
		 "twp\177o\r"},
		{"sh -c 'command stty -echo; echo go; exec sleep 86400'", "\r\n", 130, "go", "\003"},
		{"trap 'echo caught' INT; sh -c 'command stty -echo; echo go; exec sleep 86400'; exit 4",
		 "\r\ncaught\r\n", 4, "go", "\003"},
		{"command stty raw -echo; printf x; exit 6", "x", 6, NULL, NULL},
		{"command stty -icanon min 0 time 0 tostop; exit 5", "", 5, NULL, NULL},
		{"no_such_command_here 2>/dev/null", "", 127, NULL, NULL},
	};
	static const struct tty_case size = {"command stty size", "33 101\r\n", 0, NULL, NULL};

	AUTO(buf_clear) struct buf text = BUF_INIT;

	if (!in_path(shell[0]))
		skip();
	tty_converse(shell, false, &size);
	buf_printf(&text, "printf %%s '%010000d' | wc -c", 1); /* a terminal cuts a line at 4095 bytes */
	tty_converse(shell, false, &(struct tty_case){buf_str(&text), "10000\r\n", 0, NULL, NULL});
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (int no_stty = 0; no_stty < 2; no_stty++)
			tty_converse(shell, no_stty, &cases[i]);
}

static void tty_in_sh(void **state)
{
	(void)state;
	tty_all(sh);
}

static void tty_in_dash(void **state)
{
	(void)state;
	tty_all(dash);
}

static void tty_in_bash(void **state)
{
	(void)state;
	tty_all(bash);
}

static void tty_in_busybox(void **state)
{
	(void)state;
	tty_all(busybox);
}

/* The other tests go by what is there: a shell that is missing is a skip that one sees. */
static void every_shell_is_here(void **state)
{
	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(shells); s++)
		if (!in_path(shells[s][0]))
			skip();
}

static void small_enough_for_a_url(void **state)
{
	(void)state;
	assert_true(strlen(bootstrap_sh) < 1024);
	assert_true(strlen(bootstrap_tty_sh) < 1024);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(exit_codes),
	cmocka_unit_test(exec_inside_the_command),
	cmocka_unit_test(syntax_errors),
	cmocka_unit_test(quoting),
	cmocka_unit_test(any_byte),
	cmocka_unit_test(large_command),
	cmocka_unit_test(nothing_leaks_into_the_command),
	cmocka_unit_test(stdin_reaches_the_command),
	cmocka_unit_test(binary_both_ways),
	cmocka_unit_test(stdin_left_unread),
	cmocka_unit_test(background_processes),
	cmocka_unit_test(lingers_only_in_doubt),
	cmocka_unit_test(a_cut_head_runs_nothing),
	cmocka_unit_test(small_enough_for_a_url),
	cmocka_unit_test(tty_in_sh),
	cmocka_unit_test(tty_in_dash),
	cmocka_unit_test(tty_in_bash),
	cmocka_unit_test(tty_in_busybox),
	cmocka_unit_test(every_shell_is_here),
};

UNIT_MAIN(tests)
