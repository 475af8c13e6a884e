#include "clock.h"
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_left(int64_t deadline)
{
	if (deadline == INT64_MAX)
		return INT64_MAX;
	int64_t now = clock_ms();
	return deadline > now ? deadline - now : 0;
}

int platform_start(struct err *e)
{
	int fd;

	/* A caller may have closed stdin, stdout or stderr: what is opened next must not take their place. */
	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return err_sys(e, errno, "open /dev/null");
	} while (fd <= 2 && fcntl(fd, F_SETFD, 0) == 0);
	close(fd);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static volatile sig_atomic_t noted_signal;
static int wake_fds[2] = {-1, -1};

static void note_signal(int sig)
{
	int saved = errno;

	if (!noted_signal)
		noted_signal = sig;
	(void)!write(wake_fds[1], "", 1);
	errno = saved;
}

int interrupt_install(struct err *e)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

	if (pipe(wake_fds) < 0)
		return err_sys(e, errno, "pipe");
	for (int i = 0; i < 2; i++) {
		fcntl(wake_fds[i], F_SETFD, FD_CLOEXEC);
		fcntl(wake_fds[i], F_SETFL, O_NONBLOCK);
	}
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct sigaction old, act = {.sa_handler = note_signal};

		/* what was ignored when we started (nohup) stays ignored */
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			continue;
		sigemptyset(&act.sa_mask);
		if (sigaction(signals[i], &act, NULL) < 0)
			return err_sys(e, errno, "sigaction");
	}
	return 0;
}

int interrupt_signal(void)
{
	return noted_signal;
}

int interrupt_fd(void)
{
	return wake_fds[0];
}

void interrupt_acknowledge(void)
{
	char drop[64];

	while (read(wake_fds[0], drop, sizeof(drop)) > 0)
		;
	noted_signal = 0;
}

int interrupt_error(struct err *e)
{
	int sig = noted_signal ? noted_signal : SIGINT;
	const char *name = sig == SIGINT ? "SIGINT" : sig == SIGTERM ? "SIGTERM" : "SIGHUP";

	err_set(e, ERR_INTERRUPTED, "interrupted (%s)", name);
	e->status = sig;
	return -1;
}

int platform_random(void *to, size_t n, struct err *e)
{
	/* getentropy() takes 256 bytes at the most */
	for (char *p = to; n;) {
		size_t piece = n < 256 ? n : 256;

		if (getentropy(p, piece) < 0)
			return err_sys(e, errno, "getentropy");
		p += piece;
		n -= piece;
	}
	return 0;
}

char *platform_user(void)
{
	char host[256] = "";
	struct passwd *pw = getpwuid(geteuid());

	if (gethostname(host, sizeof(host) - 1) < 0 || !host[0])
		snprintf(host, sizeof(host), "unknown");
	char *who = xasprintf("%s@%s", pw ? pw->pw_name : "unknown", host);
	for (char *p = who; *p; p++)
		if (*p <= ' ' || *p > '~')
			*p = '_';
	return who;
}

/* The rest of a file; closes it. */
static char *read_all(int fd, const char *path, size_t max, size_t *ret_n, struct err *e)
{
	char *data = xmalloc(4097);
	size_t len = 0, cap = 4096;
	for (;;) {
		ssize_t got = read(fd, data + len, cap - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			err_sys(e, errno, "read %s", path);
			goto fail;
		}
		if (got == 0)
			break;
		len += (size_t)got;
		if (len > max) {
			err_set(e, ERR_CONFIG, "%s: larger than %zu bytes", path, max);
			goto fail;
		}
		if (len == cap) {
			cap *= 2;
			data = xrealloc(data, cap + 1);
		}
	}
	close(fd);
	data[len] = '\0';
	if (ret_n)
		*ret_n = len;
	return data;
fail:
	close(fd);
	free(data);
	return NULL;
}

char *file_read(const char *path, size_t max, size_t *ret_n, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		err_sys(e, errno, "open %s", path);
		return NULL;
	}
	return read_all(fd, path, max, ret_n, e);
}

static bool is_own(const struct stat *st)
{
	/* with a umask of 002 all of a user's files are writable for the user's own group */
	return (st->st_uid == geteuid() || st->st_uid == 0) && !(st->st_mode & S_IWOTH) &&
	       (!(st->st_mode & S_IWGRP) || st->st_gid == getegid());
}

char *file_read_config(const char *path, size_t max, size_t *ret_n, bool *ret_own, struct err *e)
{
	const char *slash = strrchr(path, '/');
	AUTO(freep) char *dir = slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
	struct stat file, above;
	/* O_NONBLOCK: a FIFO without a writer opens at once, too */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		err_set(e, ERR_NOT_FOUND, "%s is not there", path);
		return NULL;
	}
	if (fd < 0 || fstat(fd, &file) < 0 || stat(dir, &above) < 0) {
		err_sys(e, errno, "open %s", path);
	} else if (!S_ISREG(file.st_mode)) {
		err_set(e, ERR_CONFIG, "%s: not a regular file", path);
	} else {
		*ret_own = is_own(&file) && is_own(&above);
		return read_all(fd, path, max, ret_n, e);
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t put = write(fd, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

int file_replace(const char *path, const void *data, size_t n, struct err *e)
{
	AUTO(freep) char *temp = xasprintf("%s.XXXXXX", path);
	int fd = mkstemp(temp); /* mode 0600 */

	if (fd < 0)
		return err_sys(e, errno, "create %s", temp);
	int bad = write_all(fd, data, n) < 0 || fsync(fd) < 0 ? errno : 0;
	if (close(fd) < 0 && !bad)
		bad = errno;
	if (!bad && rename(temp, path) < 0)
		bad = errno;
	if (bad) {
		unlink(temp);
		return err_sys(e, bad, "write %s", path);
	}
	return 0;
}

int file_remove(const char *path, struct err *e)
{
	if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, errno, "remove %s", path);
	return 0;
}

/* nftw() has no argument for its callback */
static struct {
	char **list;
	size_t n;
} walk;

static int walk_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)where;
	if (type == FTW_F && S_ISREG(st->st_mode)) {
		walk.list = xrealloc(walk.list, (walk.n + 2) * sizeof(*walk.list));
		walk.list[walk.n++] = xstrdup(path);
		walk.list[walk.n] = NULL;
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char **dir_files(const char *path, struct err *e)
{
	walk.list = xcalloc(1, sizeof(*walk.list));
	walk.n = 0;
	if (nftw(path, walk_one, 16, 0) != 0) {
		err_sys(e, errno, "read directory %s", path);
		dir_files_freep(&walk.list);
		return NULL;
	}
	qsort(walk.list, walk.n, sizeof(*walk.list), by_name);
	return TAKE(walk.list);
}

void dir_files_freep(char ***p)
{
	for (char **f = *p; f && *f; f++)
		free(*f);
	free((void *)*p);
	*p = NULL;
}
