/* Runs a fuzz target over files without libFuzzer: each whole, and each of its beginnings. */
#include "fuzz.h"

#include "mem.h"
#include "platform.h"

static int run_file(const char *path)
{
	struct err e = ERR_INIT;
	size_t n;
	AUTO(freep) char *data = file_read(path, (size_t)1 << 20, &n, &e);

	if (!data) {
		fprintf(stderr, "error: %s\n", e.msg);
		err_clear(&e);
		return -1;
	}
	for (size_t len = n > 2000 ? n : 0; len <= n; len++) {
		/* memory of just that size, so that a byte too far is seen */
		AUTO(freep) uint8_t *copy = xmalloc(len);

		if (len)
			memcpy(copy, data, len);
		LLVMFuzzerTestOneInput(copy, len);
	}
	return 0;
}

int main(int argc, char **argv)
{
	size_t files = 0;

	for (int i = 1; i < argc; i++) {
		struct err e = ERR_INIT;
		AUTO(dir_files_freep) char **list = dir_files(argv[i], &e);

		if (!list) {
			fprintf(stderr, "error: %s\n", e.msg);
			err_clear(&e);
			return 1;
		}
		for (char **path = list; *path; path++, files++)
			if (run_file(*path) < 0)
				return 1;
	}
	printf("%zu files\n", files);
	return files ? 0 : 1;
}
