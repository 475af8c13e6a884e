#include "options.h"
#include "table.h"
#include "text.h"

#define HELP_WIDTH 92

static bool in_group(const struct option_row *row, enum option_group group, enum option_place place)
{
	return row->group == group && row->place == place;
}

/* @text in lines of HELP_WIDTH, each behind @indent spaces. */
static void wrap(struct buf *to, int indent, const char *text)
{
	int column = 0;

	while (*text) {
		int n = (int)strcspn(text, " ");

		if (column && column + 1 + n > HELP_WIDTH) {
			buf_puts(to, "\n");
			column = 0;
		}
		if (column)
			buf_puts(to, " ");
		else
			buf_printf(to, "%*s", indent, "");
		column += column ? 1 + n : indent + n;
		buf_printf(to, "%.*s", n, text);
		text += n;
		text += *text == ' ';
	}
	buf_puts(to, "\n");
}

static void help_rows(struct buf *to, enum option_group group, enum option_place place)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];

		if (!in_group(row, group, place))
			continue;
		if (row->initial)
			buf_printf(to, "  %s (%s)\n", row->name, row->initial);
		else
			buf_printf(to, "  %s\n", row->name);
		wrap(to, 6, row->help);
	}
}

void options_help(struct buf *to)
{
	for (enum option_group g = 0; g < GROUP_HOST; g++) {
		buf_printf(to, "%s%s\n", g ? "\n" : "", option_group_name(g));
		help_rows(to, g, PLACE_PROVIDER);
	}
	buf_puts(to, "\nOnly in the environment of devpod, never options, because DevPod sends options to "
		     "the machine\n");
	for (enum option_group g = 0; g < GROUP_HOST; g++)
		help_rows(to, g, PLACE_ENVIRONMENT);
	buf_printf(to, "\n%s\n", option_group_name(GROUP_HOST));
	help_rows(to, GROUP_HOST, PLACE_HOST);
}

/* A YAML scalar in double quotes: the one style that holds any text. The table is ASCII. */
static void yaml_text(struct buf *to, const char *key, const char *text)
{
	buf_printf(to, "    %s: \"", key);
	for (; *text; text++)
		buf_printf(to, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	buf_puts(to, "\"\n");
}

static const char *yaml_type(const struct option_row *row)
{
	switch (row->type) {
	case OPTION_INTEGER:
		return "number";
	case OPTION_DURATION:
		/* DevPod takes no empty duration: one that is off by default could not be turned off again */
		return row->initial ? "duration" : "string";
	case OPTION_BOOLEAN:
	case OPTION_FLAG:
		return "boolean";
	case OPTION_JSON:
		return "multiline";
	case OPTION_STRING:
	case OPTION_PATH:
	case OPTION_COMMAND:
	case OPTION_CHOICE:
	case OPTION_LIST:
		break;
	}
	return "string";
}

static void yaml_option(struct buf *to, const struct option_row *row)
{
	buf_printf(to, "  %s:\n", row->name);
	yaml_text(to, "description", row->help);
	buf_printf(to, "    type: %s\n", yaml_type(row));
	if (row->inherits) {
		AUTO(freep) char *command = xasprintf("printf %%s \"${%s}\"", row->name);
		yaml_text(to, "command", command);
	} else if (row->initial) {
		yaml_text(to, "default", row->initial);
	}
	if (row->values) {
		buf_puts(to, "    enum:\n");
		for (size_t i = 0; row->values[i]; i++)
			buf_printf(to, "      - \"%s\"\n", row->values[i]);
	}
	if (row->pattern) {
		yaml_text(to, "validationPattern", row->pattern);
		AUTO(freep) char *wants = option_wants(row);
		AUTO(freep) char *says = xasprintf("%s: not %s", row->name, wants);
		yaml_text(to, "validationMessage", says);
	}
	if (row->local || row->inherits)
		buf_puts(to, "    local: true\n");
	if (row->hidden)
		buf_puts(to, "    hidden: true\n");
	if (row->secret)
		buf_puts(to, "    password: true\n");
	if (!row->lasting)
		buf_puts(to, "    mutable: true\n");
}

void options_provider_yaml(struct buf *to)
{
	buf_puts(to, "optionGroups:\n");
	for (enum option_group g = 0; g < GROUP_HOST; g++) {
		buf_printf(to, "  - name: \"%s\"\n    defaultVisible: %s\n    options:\n",
			   option_group_name(g), g == GROUP_CONNECTION ? "true" : "false");
		for (size_t i = 0; i < option_count; i++)
			if (in_group(&option_table[i], g, PLACE_PROVIDER))
				buf_printf(to, "      - %s\n", option_table[i].name);
	}
	buf_puts(to, "options:\n");
	for (size_t i = 0; i < option_count; i++)
		if (option_table[i].place == PLACE_PROVIDER)
			yaml_option(to, &option_table[i]);
}

/* A cell of a table: a | would end it. */
static void cell(struct buf *to, const char *text)
{
	for (; *text; text++)
		buf_printf(to, *text == '|' ? "\\%c" : "%c", *text);
}

static void markdown_rows(struct buf *to, enum option_group group, enum option_place place)
{
	buf_puts(to, "| Name | Default | Type | Meaning | Since |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_table[i];
		AUTO(freep) char *wants = option_wants(row);

		if (place == row->place && (group == GROUPS || group == row->group)) {
			buf_printf(to, "| `%s` | ", row->name);
			if (row->initial)
				buf_printf(to, "`%s`", row->initial);
			buf_puts(to, " | ");
			cell(to, wants);
			buf_puts(to, " | ");
			cell(to, row->help);
			buf_printf(to, " | %s |\n", row->since);
		}
	}
}

/* The names of the rows that @has says yes to, as "`A`, `B` and `C`". */
static void names(struct buf *to, bool (*has)(const struct option_row *))
{
	const struct option_row *last = NULL;
	bool first = true;

	for (size_t i = 0; i < option_count; i++) {
		if (!has(&option_table[i]))
			continue;
		if (last)
			buf_printf(to, "%s`%s`", first ? "" : ", ", last->name);
		first = first && !last;
		last = &option_table[i];
	}
	if (last)
		buf_printf(to, "%s`%s`", first ? "" : " and ", last->name);
}

static bool inherits(const struct option_row *row)
{
	return row->inherits;
}

static bool is_lasting(const struct option_row *row)
{
	return row->lasting && !row->hidden;
}

static bool is_hidden(const struct option_row *row)
{
	return row->hidden;
}

static void markdown_introduction(struct buf *to)
{
	buf_puts(to,
		 "# Options\n\n"
		 "<!-- Made by hack/generate from src/options/table.c: change that, then run it. -->\n\n"
		 "The provider's executable reads all of these as environment variables; an empty variable "
		 "counts as unset.\n"
		 "A workspace can set most of them itself, in [.devpod/nomad.yaml](config-file.md). "
		 "Mistakes are reported together, before anything else is done.\n\n"
		 "Options get there through DevPod:\n\n"
		 "```sh\n"
		 "devpod provider set-options nomad -o NOMAD_MEMORYMB=4096         # for machines to come\n"
		 "devpod up WORKSPACE --provider-option NOMAD_MEMORYMB=4096        # for this one, from its "
		 "next start on\n"
		 "```\n\n"
		 "What counts, first to last: what was given with `--provider-option`, what was set with "
		 "`set-options` when the\n"
		 "machine was made, the workspace's file, and the default. DevPod passes every option to the "
		 "executable, those "
		 "without a value as empty\n"
		 "variables, so a variable of the same name in your own environment does not get through. "
		 "The exceptions are\n");
	names(to, inherits);
	buf_puts(to, ":\nwhere they were not set as options, a machine takes them from the environment of "
		     "the `devpod up` "
		     "that creates it, and\n"
		     "keeps them, so that a later `devpod stop` from a shell that points at another cluster "
		     "still finds it. "
		     "(Set to an empty\nvalue as options, they hide the environment too, and the default "
		     "counts.)\n\n");
	names(to, is_lasting);
	buf_puts(to, " are taken when the machine is created and\nmust stay as they are; the others count "
		     "from the "
		     "machine's next start on. ");
	names(to, is_hidden);
	buf_puts(to, "\nfollow from `NOMAD_HOST_DIR` for each machine and hardly ever need a value; "
		     "`devpod provider options nomad --hidden` shows them.\n");
}

void options_markdown(struct buf *to)
{
	markdown_introduction(to);
	for (enum option_group g = 0; g < GROUP_HOST; g++) {
		buf_printf(to, "\n## %s\n\n", option_group_name(g));
		markdown_rows(to, g, PLACE_PROVIDER);
	}
	buf_puts(to, "\n## Only in the environment\n\n"
		     "Options are stored in DevPod's files and sent to the agent in the machine, passwords "
		     "too. So what lets people\n"
		     "into Nomad, and the files of this computer, are no options: they come from the "
		     "environment in which `devpod`\n"
		     "runs, with the meaning that Nomad's own command line gives them.\n\n");
	markdown_rows(to, GROUPS, PLACE_ENVIRONMENT);
	buf_puts(to, "\n## From DevPod\n\nNobody sets these; they are here for those who call the executable "
		     "by hand.\n\n"
		     "| Name | Meaning |\n|---|---|\n");
	for (size_t i = 0; i < option_count; i++)
		if (option_table[i].place == PLACE_HOST)
			buf_printf(to, "| `%s` | %s |\n", option_table[i].name, option_table[i].help);
}
