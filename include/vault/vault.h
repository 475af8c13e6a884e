#ifndef VAULT_H
#define VAULT_H

#include "json.h"

/* What this program reads from Vault (or OpenBao): one secret of a KV engine. */

/** All borrowed for the call; each as the variable of Vault's CLI (VAULT_ADDR…), NULL where it is not set. */
struct vault_config {
	const char *addr; /* http://, https:// or unix:// */
	const char *token;
	const char *namespace_;
	const char *cacert;
	const char *capath;
	const char *client_cert;
	const char *client_key;
	const char *tls_server_name;
	const char *user_agent;
	bool skip_verify;
};

/**
 * vault_read_kv() - the newest version of a secret.
 * @path: as in the API (secret/data/ceph) or as in `vault kv get` (secret/ceph), for both versions of the
 * engine, wherever it is mounted. In a version 2 engine, a path that goes on with data/ is the API's.
 * @ret_fields: an object of strings, at least one; numbers and booleans are taken as their text. For
 * json_secret_freep().
 * Return: 0, or -1: ERR_CONFIG (the path, or a field that has no text), ERR_AUTH, ERR_NOT_FOUND, ERR_REMOTE
 * (sealed, another kind of engine), and those of http_do(). No message has a value of the secret in it.
 *
 * Vault's standby nodes may redirect to the active one. That is followed once, and only to https.
 */
int vault_read_kv(const struct vault_config *config, const char *path, cJSON **ret_fields,
		  struct err *e) MUST_CHECK;

/* -- pure, for tests -- */

/**
 * vault_clean_path() - what is put after /v1/: no `/` at the ends, no /v1/ in front, for free(). NULL with
 * ERR_CONFIG when it has less than two parts, an empty one, `.`, `..` or a control character.
 */
char *vault_clean_path(const char *path, struct err *e) MUST_CHECK;

/** vault_api_path() - the path that reads the newest version. @mount: with the / at its end. For free(). */
char *vault_api_path(const char *path, const char *mount, unsigned version);

/** vault_take_field() - make a field its text. -1 with ERR_CONFIG, which names it, when it has none. */
int vault_take_field(cJSON *field, struct err *e) MUST_CHECK;

#endif
