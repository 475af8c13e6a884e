/* The workspace's file: whatever it holds, the messages are clean lines, and each value is one that a
 * variable could hold. */
#include "fuzz.h"

#include "file.h"
#include "text.h"

static void check_mistakes(const struct options_file *f)
{
	const char *s = buf_str(&f->mistakes);

	HOLDS(f->mistakes.len < 65536 && strlen(s) == f->mistakes.len);
	HOLDS(!*s || s[f->mistakes.len - 1] == '\n');
	while (*s) {
		HOLDS(text_starts(s, OPTIONS_FILE_NAME ":"));
		for (size_t n; *s != '\n'; s += n) {
			n = text_utf8_len(s, 4);
			HOLDS(n && (unsigned char)*s >= ' ' && *s != 0x7f);
		}
		s++;
	}
}

static void check_entry(const struct options_file *f, size_t i)
{
	const struct file_entry *entry = &f->entries[i];
	struct err e = ERR_INIT;

	HOLDS(!entry->value || entry->key);
	if (!entry->key)
		return;
	HOLDS(option_table[i].place == PLACE_PROVIDER && entry->line > 0 && entry->column > 0);
	if (!entry->value || f->mistakes.len || strlen(entry->key) == strlen(option_table[i].name))
		return;
	/* the short key: plain YAML that became JSON */
	AUTO(json_freep) cJSON *v = json_parse(entry->value, strlen(entry->value), entry->key, &e);
	HOLDS(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n > OPTIONS_FILE_MAX)
		return 0;
	AUTO(options_file_freep) struct options_file *f = options_file_parse((const char *)data, n);

	check_mistakes(f);
	for (size_t i = 0; i < option_count; i++)
		check_entry(f, i);
	return 0;
}
