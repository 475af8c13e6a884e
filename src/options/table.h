#ifndef OPTIONS_TABLE_H
#define OPTIONS_TABLE_H

#include "buf.h"
#include "json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The table behind options.h. The type says how a value is read and which member of struct options takes it.
 */

enum option_type {
	OPTION_STRING,   /* char *, UTF-8 */
	OPTION_PATH,     /* char *, a file or directory of this computer: any bytes but control characters */
	OPTION_COMMAND,  /* char *, any bytes */
	OPTION_INTEGER,  /* int64_t */
	OPTION_DURATION, /* int64_t, milliseconds */
	OPTION_BOOLEAN,  /* bool; what Go's ParseBool takes, or only `values` */
	OPTION_FLAG,     /* bool; true where ParseBool says so, and never a mistake */
	OPTION_CHOICE,   /* int: 1 + the index in `values`, 0 = unset */
	OPTION_LIST,     /* char **, NULL-terminated; commas between */
	OPTION_JSON,     /* cJSON * */
};

enum option_place {
	PLACE_PROVIDER,    /* an option of provider.yaml */
	PLACE_ENVIRONMENT, /* only in the user's environment: DevPod sends options to the machine */
	PLACE_HOST,        /* what DevPod tells of the machine at hand; nobody sets it */
};

enum option_group {
	GROUP_CONNECTION,
	GROUP_SIZE,
	GROUP_PLACEMENT,
	GROUP_MACHINE,
	GROUP_STORAGE,
	GROUP_VAULT,
	GROUP_GPU,
	GROUP_HOST,
	GROUPS
};

struct option_row {
	const char *name;
	enum option_type type;
	enum option_place place;
	enum option_group group;
	const char *initial; /* the default, as text; ${NAME} is the value of a row above; NULL = unset */
	const char *help;    /* for users, whole sentences */

	/* what is allowed */
	const char *unit;          /* of an integer */
	int64_t min, max;          /* of integers, and of durations in milliseconds */
	const char *const *values; /* NULL-terminated; nothing else is taken */
	size_t max_len;            /* bytes; 0 = OPTION_MAX_LEN */
	const char *wants;         /* the same in words, where the type does not say it all */
	/* @value may be shortened in place; false: the reasons are lines in @why, or it is just not what
	 * @wants says */
	bool (*check)(char *value, struct buf *why);
	/* the checked and completed copy of @in, or NULL with lines in @why or where it says nothing */
	cJSON *(*convert)(const cJSON *in, struct buf *why);

	/* for provider.yaml */
	const char *pattern; /* a regular expression of Go's */
	bool local;          /* resolved for each machine, when there is a MACHINE_ID */
	bool inherits;       /* unset, it is what the environment of the machine's creator said (see
				docs/options.md) */
	bool hidden;         /* not in the desktop application */
	bool secret;         /* never shown */
	bool harmless;       /* taken from a workspace's file that is not the user's own, too */
	bool devpods;        /* DevPod acts on it, and does not know the workspace's file */
	bool lasting;        /* is taken when the machine is created, and stays */

	const char *since;
	size_t offset; /* in struct options */
};

#define OPTION_MAX_LEN 4096

extern const struct option_row option_table[];
extern const size_t option_count;

/** option_group_name() - as a heading. */
const char *option_group_name(enum option_group group);

/** option_find() - the row of that name, or NULL. */
const struct option_row *option_find(const char *name);

/** option_wants() - "a whole number (MHz, 1 to 1000000)": what is allowed, for messages and docs; for free().
 */
char *option_wants(const struct option_row *row);

/** option_duration() - 1800000 as "30m"; for free(). */
char *option_duration(int64_t ms);

#endif
