#include "unit.h"

#include "vault.h"

static void clean_path(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} all[] = {
		{"secret/data/ceph", "secret/data/ceph"},     {"/v1/secret/data/ceph", "secret/data/ceph"},
		{"//secret/ceph//", "secret/ceph"},           {"v1/ceph", "v1/ceph"},
		{"kv/team a/ceph.key", "kv/team a/ceph.key"}, {"kv/...", "kv/..."},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct err e = ERR_INIT;
		AUTO(freep) char *out = vault_clean_path(all[i].in, &e);

		assert_non_null(out);
		assert_string_equal(out, all[i].out);
	}
}

static void bad_path(void **state)
{
	(void)state;
	static const char *const all[] = {
		"",        "/",     "secret",    "secret/", "/v1/secret",  "secret//ceph",
		"../ceph", "kv/..", "kv/./ceph", "kv/a\nb", "kv/a/../../", "kv/\x7f",
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct err e = ERR_INIT;

		assert_null(vault_clean_path(all[i], &e));
		assert_int_equal(e.kind, ERR_CONFIG);
		assert_non_null(strstr(e.msg, "is no path of a secret in Vault"));
		err_clear(&e);
	}
}

static void api_path(void **state)
{
	(void)state;
	static const struct {
		const char *path, *mount;
		unsigned version;
		const char *out;
	} all[] = {
		{"secret/ceph", "secret/", 2, "secret/data/ceph"},
		{"secret/data/ceph", "secret/", 2, "secret/data/ceph"},
		{"secret/database", "secret/", 2, "secret/data/database"},
		{"kv/team/data/x", "kv/team/", 2, "kv/team/data/x"},
		{"kv/team/x/y", "kv/team/", 2, "kv/team/data/x/y"},
		{"secret/ceph", "secret/", 1, "secret/ceph"},
		{"secret/data/ceph", "secret/", 1, "secret/data/ceph"},
		{"secret/ceph", NULL, 0, "secret/ceph"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		AUTO(freep) char *out = vault_api_path(all[i].path, all[i].mount, all[i].version);
		assert_string_equal(out, all[i].out);
	}
}

static void field_text(void **state)
{
	(void)state;
	static const struct {
		const char *json, *text;
	} all[] = {
		{"\"s\"", "s"},
		{"\"\"", ""},
		{"5", "5"},
		{"-7", "-7"},
		{"0.5", "0.5"},
		{"3000000000", "3000000000"},
		{"9007199254740992", "9007199254740992"},
		{"true", "true"},
		{"false", "false"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct err e = ERR_INIT;
		AUTO(json_secret_freep)
		cJSON *field = json_parse(all[i].json, strlen(all[i].json), "test", &e);

		assert_non_null(field);
		assert_int_equal(vault_take_field(field, &e), 0);
		assert_true(cJSON_IsString(field));
		assert_string_equal(field->valuestring, all[i].text);
	}
}

static void field_without_text(void **state)
{
	(void)state;
	static const struct {
		const char *json, *msg;
	} all[] = {
		{"{\"key\":null}", "the field 'key' is null, not a string"},
		{"{\"key\":{\"hunter2\":1}}", "the field 'key' is an object, not a string"},
		{"{\"key\":[\"hunter2\"]}", "the field 'key' is a list, not a string"},
		{"{\"key\":9007199254740994}", "the field 'key' is a number too large to be exact"},
		{"{\"key\":-1e300}", "the field 'key' is a number too large to be exact"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct err e = ERR_INIT;
		AUTO(json_secret_freep)
		cJSON *fields = json_parse(all[i].json, strlen(all[i].json), "test", &e);

		assert_non_null(fields);
		assert_int_equal(vault_take_field(fields->child, &e), -1);
		assert_int_equal(e.kind, ERR_CONFIG);
		assert_string_equal(e.msg, all[i].msg);
		err_clear(&e);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(clean_path), cmocka_unit_test(bad_path),           cmocka_unit_test(api_path),
	cmocka_unit_test(field_text), cmocka_unit_test(field_without_text),
};

UNIT_MAIN(tests)
