#include "unit.h"

#include "text.h"
#include "volume.h"

static int header_of(const char *json, char **ret, struct err *e)
{
	AUTO(json_secret_freep) cJSON *secrets = json_parse(json, strlen(json), "test", e);

	assert_non_null(secrets);
	return csi_secrets_header(secrets, ret, e);
}

static void secrets_header(void **state)
{
	(void)state;
	static const struct {
		const char *json, *header;
	} all[] = {
		{"{\"userID\":\"admin\"}", "X-Nomad-CSI-Secrets: userID=admin"},
		{"{\"userID\":\"admin\",\"userKey\":\"AQ==\"}",
		 "X-Nomad-CSI-Secrets: userID=admin,userKey=AQ=="},
		{"{\"a\":\"\",\"b\":\"x y\\u00e4\\\"\"}", "X-Nomad-CSI-Secrets: a=,b=x y\xc3\xa4\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		AUTO(secret_freep) char *header = NULL;
		struct err e = ERR_INIT;

		assert_int_equal(header_of(all[i].json, &header, &e), 0);
		assert_string_equal(header, all[i].header);
	}
}

static void no_secrets_header(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	char *header = NULL;

	assert_int_equal(csi_secrets_header(NULL, &header, &e), 0);
	assert_null(header);
	assert_int_equal(header_of("{}", &header, &e), 0);
	assert_null(header);
}

static void unsayable_secret(void **state)
{
	(void)state;
	static const char *const all[] = {
		"{\"ok\":\"1\",\"bad\":\"hunter2,x\"}",
		"{\"bad\":\"hunter2\\n\"}",
		"{\"bad\":\"hunter2\\r\\nX-Other: y\"}",
		"{\"bad\":\" hunter2\"}",
		"{\"bad\":\"hunter2 \"}",
		"{\"bad\":\"hunter2\\t\"}",
		"{\"bad\":\"hunter2\\u007f\"}",
		"{\"bad\":{\"hunter2\":1}}",
		"{\"bad\":12}",
		"{\"bad=\":\"hunter2\"}",
		"{\"bad,\":\"hunter2\"}",
		"{\"bad \":\"hunter2\"}",
		"{\"\":\"hunter2\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct err e = ERR_INIT;
		char *header = NULL;

		assert_int_equal(header_of(all[i], &header, &e), -1);
		assert_null(header);
		assert_int_equal(e.kind, ERR_CONFIG);
		assert_true(text_starts(e.msg, "the CSI secret '"));
		assert_null(strstr(e.msg, "hunter2"));
		assert_non_null(e.hint);
		err_clear(&e);
	}
}

static void name_filter(void **state)
{
	(void)state;
	static const struct {
		const char *name, *filter;
	} all[] = {
		{"devpod-ws-1", "Name == \"devpod-ws-1\""},
		{"", "Name == \"\""},
		{"a b`'", "Name == \"a b`'\""},
		{"a\"b", "Name == \"a\\x22b\""},
		{"a\\b\n", "Name == \"a\\x5cb\\x0a\""},
		{"\" or Name != \"", "Name == \"\\x22 or Name != \\x22\""},
		{"\xc3\xa4\x7f", "Name == \"\\xc3\\xa4\\x7f\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		AUTO(freep) char *filter = volume_name_filter(all[i].name);
		assert_string_equal(filter, all[i].filter);
	}
}

static void claimed(void **state)
{
	(void)state;
	static const struct {
		const char *json;
		bool claimed;
	} all[] = {
		{"{\"ReadAllocs\":{},\"WriteAllocs\":{}}", false},
		{"{\"ReadAllocs\":null,\"WriteAllocs\":null}", false},
		{"{}", false},
		{"{\"ReadAllocs\":{},\"WriteAllocs\":{\"9146cc87\":null}}", true},
		{"{\"ReadAllocs\":{\"9146cc87\":null},\"WriteAllocs\":{}}", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct err e = ERR_INIT;
		AUTO(json_freep)
		cJSON *volume = json_parse(all[i].json, strlen(all[i].json), "test", &e);

		assert_non_null(volume);
		assert_int_equal(nomad_csi_volume_claimed(volume), all[i].claimed);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(secrets_header),   cmocka_unit_test(no_secrets_header),
	cmocka_unit_test(unsayable_secret), cmocka_unit_test(name_filter),
	cmocka_unit_test(claimed),
};

UNIT_MAIN(tests)
