/*
 * bench_measure FILE COMMAND [ARGUMENT...]: runs it and writes one line to FILE: seconds, processor seconds,
 * peak memory in KiB. A program of its own because a child's peak memory counts from before its exec, and a
 * Python is larger than what is measured here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	struct rusage use;
	int status;

	if (argc < 3) {
		fputs("usage: bench_measure FILE COMMAND [ARGUMENT...]\n", stderr);
		return 2;
	}
	double begin = now();
	pid_t pid = fork();
	if (pid == 0) {
		execvp(argv[2], argv + 2);
		fprintf(stderr, "error: %s: %s\n", argv[2], strerror(errno));
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &use) < 0) {
		perror("error: bench_measure");
		return 125;
	}
	double took = now() - begin;
	long kib = use.ru_maxrss;
#ifdef __APPLE__
	kib /= 1024;
#endif
	FILE *file = fopen(argv[1], "w");
	if (!file ||
	    fprintf(file, "%.6f %.6f %ld\n", took, seconds(use.ru_utime) + seconds(use.ru_stime), kib) < 0 ||
	    fclose(file) == EOF) {
		perror("error: bench_measure");
		return 125;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
