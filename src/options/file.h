#ifndef OPTIONS_FILE_H
#define OPTIONS_FILE_H

#include "options.h"
#include "table.h"

/*
 * The workspace's own file, .devpod/nomad.yaml: a YAML mapping of options in lower case to values. Here it is
 * found, read and taken apart into what the variables would hold; what the values mean is options.c's matter.
 */

#define OPTIONS_FILE_NAME ".devpod/nomad.yaml"
#define OPTIONS_FILE_MAX  65536 /* bytes */

struct file_entry {
	char *key;   /* as it stands there, or NULL: the option is not in the file */
	char *value; /* as its variable would hold it, or NULL: unset */
	size_t line, column;
};

struct options_file {
	char *path; /* where it is, or would be */
	/* not the user's own, in words that follow "it is ignored: ", or NULL; see docs/config-file.md */
	const char *foreign;
	struct file_entry *entries; /* one a table row */
	struct buf mistakes;        /* one a line, each with the file's name and mostly line and column */
};

/** options_file_load() - the file of the workspace that @from tells of; never NULL, but perhaps empty. */
struct options_file *options_file_load(const struct options_source *from);

/** options_file_parse() - the same of @text. */
struct options_file *options_file_parse(const char *text, size_t n);

void options_file_freep(struct options_file **p);

#endif
