/* dpn-reference help|provider-yaml|markdown: what the option table generates, on stdout. For hack/ only. */
#include "options.h"
#include "text.h"

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*print)(struct buf *to);
	} kinds[] = {
		{"help", options_help},
		{"provider-yaml", options_provider_yaml},
		{"markdown", options_markdown},
	};
	AUTO(buf_clear) struct buf out = BUF_INIT;

	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(kinds); i++) {
		if (!text_eq(argv[1], kinds[i].name))
			continue;
		kinds[i].print(&out);
		if (fwrite(out.data, 1, out.len, stdout) != out.len || fclose(stdout) != 0) {
			perror("error: stdout");
			return 1;
		}
		return 0;
	}
	fputs("usage: dpn-reference help|provider-yaml|markdown\n", stderr);
	return 2;
}
