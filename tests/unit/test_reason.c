/* What Nomad 2.0 said on a bench, each by its own cause, and what people get to read. */
#include "unit.h"

#include "machine_private.h"
#include "mem.h"

static const struct options options = {
	.host_dir = (char[]){"/srv/machines"},
	.image = (char[]){"team/image:1"},
	.vault_role = (char[]){"nomad-workloads"},
	.vault_addr = (char[]){"http://vault.example:8200"},
};

#define LOGIN                                                                                                \
	"Vault: failed to derive vault token: failed to derive Vault token for identity vault_default: "     \
	"failed to login with JWT: "
#define API "Error making API request.\n\nURL: PUT http://v:8200/v1/auth/jwt-nomad/login\nCode: "

static void texts_and_hints(void **state)
{
	(void)state;
	static const struct {
		const char *said, *text, *hint;
	} of[] = {
		{LOGIN API "400. Errors:\n\n* role \"nope\" could not be found",
		 "Nomad could not log in to Vault: Error making API request.  URL: PUT "
		 "http://v:8200/v1/auth/jwt-nomad/login Code: 400. Errors:  * role \"nope\" could not be "
		 "found",
		 "is there such a role as VAULT_ROLE 'nomad-workloads' in Vault? (vault list "
		 "auth/jwt-nomad/role)"},
		{LOGIN API "503. Errors:\n\n* Vault is sealed",
		 "Nomad could not log in to Vault: Error making API request.  URL: PUT "
		 "http://v:8200/v1/auth/jwt-nomad/login Code: 503. Errors:  * Vault is sealed",
		 "unseal Vault, and try again"},
		{LOGIN API "400. Errors:\n\n* error validating token: invalid audience (aud) claim",
		 "Nomad could not log in to Vault: Error making API request.  URL: PUT "
		 "http://v:8200/v1/auth/jwt-nomad/login Code: 400. Errors:  * error validating token: "
		 "invalid "
		 "audience (aud) claim",
		 "Vault does not let Nomad's workloads in with VAULT_ROLE 'nomad-workloads': look at its "
		 "bound_audiences "
		 "and bound_claims (docs/vault.md in the project)"},
		{LOGIN "Put \"http://v:8200/v1/auth/jwt-nomad/login\": dial tcp 127.0.0.1:8200: connect: "
		       "connection refused",
		 "Nomad could not log in to Vault: Put \"http://v:8200/v1/auth/jwt-nomad/login\": dial tcp "
		 "127.0.0.1:8200: connect: connection refused",
		 "the node must reach Vault at the address in its own Nomad configuration (VAULT_ADDR, here "
		 "'http://vault.example:8200', does not count there)"},
		{"Template failed: (dynamic): execute: template: :1:95: executing \"\" at <sprig_fail "
		 "\"Vault: "
		 "s/data/a: field 'f' is not there\">: error calling sprig_fail: Vault: s/data/a: field 'f' "
		 "is "
		 "not there",
		 "Vault: s/data/a: field 'f' is not there",
		 "VAULT_SECRETS_JSON names the fields; `vault kv get PATH` shows those of a secret"},
		{"Failed to pull `x`: no such host", "Failed to pull `x`: no such host",
		 "is NOMAD_IMAGE 'team/image:1' right, and can the node reach its registry?"},
		{"mkdir /srv/machines: cannot mount", "mkdir /srv/machines: cannot mount",
		 "can NOMAD_HOST_DIR '/srv/machines' be a directory on the node?"},
		{"something new", "something new", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
		AUTO(freep) char *text = reason_text(of[i].said, 600);
		AUTO(err_clear) struct err e = ERR_INIT;

		assert_string_equal(text, of[i].text);
		err_set(&e, ERR_REMOTE, "x");
		reason_hint(text, &options, &e);
		if (of[i].hint)
			assert_string_equal(e.hint, of[i].hint);
		else
			assert_null(e.hint);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(texts_and_hints),
};

UNIT_MAIN(tests)
