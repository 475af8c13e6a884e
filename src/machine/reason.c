/* What Nomad says when a task does not start, in fewer words, and what to do about it. */
#include "machine_private.h"
#include "text.h"

#define AT(member) offsetof(struct options, member)
#define NOTHING    SIZE_MAX

/* The first row whose words are all there counts. */
static const struct {
	const char *words[2];
	const char *hint;
	size_t value; /* of an option: it stands between hint and rest */
	const char *rest;
} hints[] = {
	/* Vault: the login comes before the first secret is read */
	{{"log in to Vault", "could not be found"},
	 "is there such a role as VAULT_ROLE '",
	 AT(vault_role),
	 "' in Vault? (vault list auth/jwt-nomad/role)"},
	{{"log in to Vault", "ealed"}, "unseal Vault, and try again", NOTHING, ""},
	{{"log in to Vault", "Code: 40"},
	 "Vault does not let Nomad's workloads in with VAULT_ROLE '",
	 AT(vault_role),
	 "': look at its bound_audiences and bound_claims (docs/vault.md in the project)"},
	{{"log in to Vault", ""},
	 "the node must reach Vault at the address in its own Nomad configuration (VAULT_ADDR, here '",
	 AT(vault_addr),
	 "', does not count there)"},
	{{"Vault gives Nomad", ""},
	 "look at the path (vault kv get PATH), and at the policies of the role '",
	 AT(vault_role),
	 "': a KV v2 path is MOUNT/data/NAME in a policy"},
	{{"Vault: ", "field"},
	 "VAULT_SECRETS_JSON names the fields; `vault kv get PATH` shows those of a secret",
	 NOTHING,
	 ""},
	{{"sprig_", ""},
	 "the client's function_denylist must let templates use sprig's functions",
	 NOTHING,
	 ""},
	/* Docker */
	{{"privileged", ""}, "the client's docker plugin must have allow_privileged = true", NOTHING, ""},
	{{"volumes are not enabled", ""},
	 "the client's docker plugin must have volumes { enabled = true }",
	 NOTHING,
	 ""},
	{{"runtime", "nvidia"},
	 "the node's Docker needs the runtime nvidia (nvidia-container-toolkit), and the client's docker "
	 "plugin "
	 "must allow it (allow_runtimes)",
	 NOTHING,
	 ""},
	{{"pull", ""}, "is NOMAD_IMAGE '", AT(image), "' right, and can the node reach its registry?"},
	{{"image", ""}, "is NOMAD_IMAGE '", AT(image), "' right, and can the node reach its registry?"},
	{{"OOM", ""}, "give it more memory: NOMAD_MEMORYMB", NOTHING, ""},
	{{"out of memory", ""}, "give it more memory: NOMAD_MEMORYMB", NOTHING, ""},
};

static const char *value_of(const struct options *o, size_t offset)
{
	return offset == NOTHING ? "" : *(char *const *)(const void *)((const char *)o + offset);
}

void reason_hint(const char *text, const struct options *o, struct err *e)
{
	if (strstr(text, "mount") && strstr(text, o->host_dir)) {
		err_hint(e, "can NOMAD_HOST_DIR '%s' be a directory on the node?", o->host_dir);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(hints); i++) {
		if (!strstr(text, hints[i].words[0]) || !strstr(text, hints[i].words[1]))
			continue;
		err_hint(e, "%s%s%s", hints[i].hint, value_of(o, hints[i].value), hints[i].rest);
		return;
	}
}

/* Nomad's words, without what only its own stack means: what follows `after` counts, with `instead` before.
 */
static const struct {
	const char *start, *after, *instead;
} wrappings[] = {
	{"Template failed: ", "error calling sprig_fail: ", ""},
	{"Vault: failed to derive vault token: ", "failed to login with JWT: ",
	 "Nomad could not log in to Vault: "},
	{"Vault: failed to derive vault token: ", "vault token: ", "Nomad could not log in to Vault: "},
};

char *reason_text(const char *text, size_t max)
{
	AUTO(freep) char *clean = text_cleaned(text, max);

	for (size_t i = 0; i < ARRAY_SIZE(wrappings); i++) {
		const char *rest =
			text_starts(clean, wrappings[i].start) ? strstr(clean, wrappings[i].after) : NULL;
		if (rest)
			return xasprintf("%s%s", wrappings[i].instead, rest + strlen(wrappings[i].after));
	}
	return TAKE(clean);
}
