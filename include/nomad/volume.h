#ifndef VOLUME_H
#define VOLUME_H

#include "nomad.h"

/*
 * Volumes: CSI's, which Nomad knows by an ID that we choose, and dynamic host volumes (Nomad 1.10), which get
 * an ID from Nomad and are found by name. Errors are those of http_do(), but for what is said below; what
 * Nomad or a plugin says of a failure is in the message.
 *
 * The calls that create and delete return when the storage has done it. They wait up to 5 minutes: a Nomad
 * client gives a CSI controller 2 minutes (after which the server may ask a second one), a host volume's
 * plugin 1 minute, and calls for one volume queue; Nomad's own CLI waits without a limit.
 */

/**
 * nomad_csi_volume_create() - PUT /v1/volume/csi/:id/create. A volume of that ID may exist already: then it
 * is updated, and expanded when the capacity asked for is larger.
 * @volume: Nomad's CSIVolume with ID, Namespace, Name, PluginID, RequestedCapabilities, MountOptions. Give {}
 * at least as MountOptions: none at all is not what Nomad has stored, and it refuses to create a claimed
 * volume again then. The storage knows the volume by Name alone: the same Name from another namespace or
 * cluster is the same storage. Of Secrets no copy stays behind here; Nomad keeps them and shows nobody.
 * Return: 0, or -1: ERR_CONFLICT when there is a volume of that ID, or in the storage of that Name, and it
 * differs in what cannot be changed.
 */
int nomad_csi_volume_create(struct nomad *n, const cJSON *volume, struct err *e) MUST_CHECK;

/** nomad_csi_volume_find() - none is a success: *ret is NULL then. */
int nomad_csi_volume_find(struct nomad *n, const char *id, cJSON **ret, struct err *e) MUST_CHECK;

/** nomad_csi_volume_claimed() - an allocation has it, or had it and has not handed it back yet. */
bool nomad_csi_volume_claimed(const cJSON *volume);

/** nomad_csi_volume_wait_free() - wait until nothing claims it; ERR_CONFLICT when something still does after
 * @ms. One that does not exist is free. */
int nomad_csi_volume_wait_free(struct nomad *n, const char *id, int64_t ms, struct err *e) MUST_CHECK;

/**
 * nomad_csi_volume_delete() - the volume and its storage. One that does not exist is a success.
 * @secrets: an object of strings, or NULL. They go before those that the volume was created with.
 * Return: 0, or -1: ERR_CONFLICT while it is claimed (an allocation that stopped gives it back about half a
 * second later): nothing is deleted then. ERR_CONFIG when a secret cannot be said, see csi_secrets_header().
 */
int nomad_csi_volume_delete(struct nomad *n, const char *id, const cJSON *secrets, struct err *e) MUST_CHECK;

/**
 * nomad_host_volume_create() - PUT /v1/volume/host/create; Nomad chooses the node where the volume leaves it
 * open. It makes a second volume, on another node, when one of that name exists, unless an ID is given.
 * @volume: Nomad's HostVolume with Namespace, Name, PluginID; RequestedCapacityMaxBytes must not be less than
 * RequestedCapacityMinBytes, so a minimum needs a maximum.
 * @ret_volume: as created: ID, NodeID, State ("pending" until the node has reported it, then "ready"; a job
 * can be registered at once).
 */
int nomad_host_volume_create(struct nomad *n, const cJSON *volume, cJSON **ret_volume,
			     struct err *e) MUST_CHECK;

/**
 * nomad_host_volume_find() - the volume of that name in the namespace; the oldest when several nodes have
 * one.
 * @ret: ID, NodeID, State, CapacityBytes, PluginID…; none is a success: NULL.
 */
int nomad_host_volume_find(struct nomad *n, const char *name, cJSON **ret, struct err *e) MUST_CHECK;

/** nomad_host_volume() - all of it, with the sizes that were asked for, which nomad_host_volume_find() does
 * not tell. */
int nomad_host_volume(struct nomad *n, const char *id, cJSON **ret, struct err *e) MUST_CHECK;

/** nomad_host_volume_wait_ready() - wait until its node has reported it, since a job is not placed there
 * before (measured: 0.65 to 1.2 s); ERR_TIMEOUT when that takes longer than @ms. */
int nomad_host_volume_wait_ready(struct nomad *n, const char *id, int64_t ms, struct err *e) MUST_CHECK;

/** nomad_host_volume_delete() - the volume and its data. One that does not exist is a success; ERR_CONFLICT
 * while an allocation uses it. Its node must be there. */
int nomad_host_volume_delete(struct nomad *n, const char *id, struct err *e) MUST_CHECK;

/* -- pure, for tests -- */

/**
 * csi_secrets_header() - "X-Nomad-CSI-Secrets: k=v,k=v". Nomad cuts at every `,`, then at the first `=`, and
 * knows no escape. So a comma, a control character, white space at an end (HTTP drops it), or `=` in a name
 * cannot be said: ERR_CONFIG, which names the secret and never shows its value.
 * @ret: for secret_freep(); NULL when there is no secret.
 */
int csi_secrets_header(const cJSON *secrets, char **ret, struct err *e) MUST_CHECK;

/** volume_name_filter() - the expression `Name == "…"` (go-bexpr) for that name, for free(). */
char *volume_name_filter(const char *name);

#endif
