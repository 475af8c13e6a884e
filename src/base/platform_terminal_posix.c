#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN
#endif
#endif
#ifdef WITH_ASAN
/* sanitizer/common_interface_defs.h; what ASan finds ends us without a signal */
void __sanitizer_set_death_callback(void (*callback)(void));
#endif

/* What ends us without asking. What they were before is restored, so that each still does its work: ASan's
 * handlers too. */
static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE,  SIGILL,  SIGABRT, SIGQUIT,
			     SIGTRAP, SIGSYS, SIGALRM, SIGUSR1, SIGUSR2};

enum { WINCH, CONT, TSTP, FIRST_DEADLY, HANDLERS = FIRST_DEADLY + ARRAY_SIZE(deadly) };

/* All that handlers read is written while it is of no use to them: before `raw` is set, after it is cleared.
 */
static struct {
	volatile sig_atomic_t raw;
	int fd;
	struct termios before, during;
	int wake[2];
	struct sigaction old[HANDLERS];
	bool handled[HANDLERS];
} terminal = {.wake = {-1, -1}};

bool terminal_is(int fd)
{
	return isatty(fd);
}

bool terminal_size(int fd, unsigned *ret_rows, unsigned *ret_columns)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col)
		return false;
	*ret_rows = size.ws_row;
	*ret_columns = size.ws_col;
	return true;
}

/* Is it ours to change? One that isn't our controlling terminal has no foreground that we could be in. */
static bool foreground(void)
{
	pid_t group = tcgetpgrp(terminal.fd);

	return group < 0 || group == getpgrp();
}

static void set_modes(const struct termios *modes)
{
	if (terminal.raw && foreground())
		tcsetattr(terminal.fd, TCSANOW, modes);
}

/* -- handlers: async-signal-safe all of it -- */

static void wake(void)
{
	(void)!write(terminal.wake[1], "", 1);
}

static void on_resize(int sig)
{
	int saved = errno;

	(void)sig;
	wake();
	errno = saved;
}

/* In the background SIGTTOU stops us in here, as it does others that want the terminal, and fg lets us go on.
 */
static void on_continue(int sig)
{
	int saved = errno;

	(void)sig;
	while (terminal.raw && tcsetattr(terminal.fd, TCSANOW, &terminal.during) < 0 && errno == EINTR)
		;
	wake();
	errno = saved;
}

static void on_stop(int sig)
{
	struct sigaction ours, deflt = {.sa_handler = SIG_DFL};
	int saved = errno;
	sigset_t only;

	set_modes(&terminal.before);
	sigemptyset(&deflt.sa_mask);
	sigaction(sig, &deflt, &ours);
	sigemptyset(&only);
	sigaddset(&only, sig);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &only, NULL); /* here we stop, unless nobody could continue us */
	sigaction(sig, &ours, NULL);
	on_continue(SIGCONT);
	errno = saved;
}

static void on_deadly(int sig, siginfo_t *info, void *context)
{
	(void)context;
	set_modes(&terminal.before);
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		if (deadly[i] == sig)
			sigaction(sig, &terminal.old[FIRST_DEADLY + i], NULL);
	/* A fault happens again on return, for whoever was there before us; what somebody sent must be sent
	 * again. */
	if (info->si_code <= 0 || sig == SIGALRM)
		raise(sig);
}

/* -- */

static void install(size_t which, int sig, struct sigaction *act)
{
	if (sigaction(sig, NULL, &terminal.old[which]) < 0)
		return;
	/* what is ignored ends or stops nobody */
	if (terminal.old[which].sa_handler == SIG_IGN && which >= TSTP)
		return;
	sigemptyset(&act->sa_mask);
	terminal.handled[which] = sigaction(sig, act, NULL) == 0;
}

static void uninstall(size_t which, int sig)
{
	if (terminal.handled[which])
		sigaction(sig, &terminal.old[which], NULL);
	terminal.handled[which] = false;
}

static void install_all(void)
{
	struct sigaction resize = {.sa_handler = on_resize}, cont = {.sa_handler = on_continue};
	struct sigaction stop = {.sa_handler = on_stop};
	struct sigaction dead = {.sa_sigaction = on_deadly, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	install(WINCH, SIGWINCH, &resize);
	install(CONT, SIGCONT, &cont);
	install(TSTP, SIGTSTP, &stop);
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		install(FIRST_DEADLY + i, deadly[i], &dead);
}

static void uninstall_all(void)
{
	uninstall(WINCH, SIGWINCH);
	uninstall(CONT, SIGCONT);
	uninstall(TSTP, SIGTSTP);
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		uninstall(FIRST_DEADLY + i, deadly[i]);
}

static int make_pipe(struct err *e)
{
	if (terminal.wake[0] >= 0)
		return 0;
	if (pipe(terminal.wake) < 0)
		return err_sys(e, errno, "pipe");
	for (int i = 0; i < 2; i++) {
		fcntl(terminal.wake[i], F_SETFD, FD_CLOEXEC);
		fcntl(terminal.wake[i], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

int terminal_raw(int fd, struct err *e)
{
	static bool at_exit;

	if (terminal.raw)
		return 0;
	terminal.fd = fd;
	if (tcgetattr(fd, &terminal.before) < 0)
		return err_sys(e, errno, "tcgetattr");
	terminal.during = terminal.before;
	cfmakeraw(&terminal.during);
	terminal.during.c_cc[VMIN] = 1;
	terminal.during.c_cc[VTIME] = 0;
	if (make_pipe(e) < 0)
		return -1;
	if (!at_exit && atexit(terminal_restore) == 0)
		at_exit = true;
#ifdef WITH_ASAN
	__sanitizer_set_death_callback(terminal_restore);
#endif
	terminal.raw = 1;
	install_all();
	/* in the background: SIGTTOU stops us here, then on_continue() and this call do the same */
	while (tcsetattr(fd, TCSANOW, &terminal.during) < 0) {
		int errnum = errno;

		if (errnum == EINTR)
			continue;
		terminal_restore();
		return err_sys(e, errnum, "tcsetattr");
	}
	return 0;
}

void terminal_restore(void)
{
	if (!terminal.raw)
		return;
	set_modes(&terminal.before);
	terminal.raw = 0;
	uninstall_all();
}

int terminal_fd(void)
{
	return terminal.raw ? terminal.wake[0] : -1;
}

bool terminal_changed(void)
{
	bool changed = false;
	char drop[64];

	/* each wake() leaves a byte, or the pipe is full of them */
	while (terminal.wake[0] >= 0 && read(terminal.wake[0], drop, sizeof(drop)) > 0)
		changed = true;
	return changed;
}
