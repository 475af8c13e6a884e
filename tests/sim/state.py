"""The servers' side of the simulated Nomad: jobs, allocations, evaluations and nodes behind one Raft-like index.

Everything here runs in the simulator's event loop and changes state synchronously, so that a reader never sees half of
a change. Shapes, defaults and error texts were compared with Nomad 2.0.6-dev (see README.md).
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
VERSION = "2.0.6-dev"

TERMINAL_CLIENT = ("complete", "failed", "lost")


def now_ns() -> int:
    """Wall clock in Unix nanoseconds."""
    return time.time_ns()


def rfc3339(ns: int) -> str:
    """A time as Go's time.Time marshals it: nanoseconds without trailing zeros, UTC."""
    sec, frac = divmod(ns, SECOND)
    out = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(sec))
    digits = f"{frac:09d}".rstrip("0")
    return f"{out}.{digits}Z" if digits else f"{out}Z"


def go_duration(ns: int) -> str:
    """A duration as Go's Duration.String() prints it."""
    if ns == 0:
        return "0s"
    if ns < SECOND:
        for unit, name in ((1_000_000, "ms"), (1000, "µs"), (1, "ns")):
            if ns >= unit:
                return f"{ns / unit:.9g}{name}"
    hours, rest = divmod(ns, HOUR)
    minutes, rest = divmod(rest, 60 * SECOND)
    seconds = f"{rest / SECOND:.9f}".rstrip("0").rstrip(".")
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": HOUR}


def parse_duration(text: str) -> int:
    """Go's time.ParseDuration, in nanoseconds; ValueError when malformed."""
    if text == "0":
        return 0
    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(a + b for a, b in parts) != text.lstrip("+-"):
        raise ValueError(f"time: invalid duration {json.dumps(text)}")
    total = int(sum(float(number) * _UNITS[unit] for number, unit in parts))
    return -total if text.startswith("-") else total


def dump(value: Any) -> bytes:
    """JSON as Nomad's codec writes it: canonical key order, no blanks."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def omit_empty(value: Json) -> Json:
    """Allocation and Evaluation carry `codec:",omitempty"` at their top level (nomad/structs)."""
    return {k: v for k, v in value.items() if v not in (None, "", 0, False) and v != [] and v != {}}


class NomadError(Exception):
    """An error that the HTTP layer turns into a status code and a plain text body."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def multierror(errors: Iterable[str]) -> str:
    """go-multierror's list format, with its two trailing newlines (measured)."""
    errs = list(errors)
    head = "1 error occurred:" if len(errs) == 1 else f"{len(errs)} errors occurred:"
    return head + "\n\t* " + "\n\t* ".join(errs) + "\n\n"


# ---------------------------------------------------------------------------------------------------------------- jobs

_RESOURCES: Json = {
    "CPU": 100,
    "Cores": 0,
    "MemoryMB": 300,
    "MemoryMaxMB": 0,
    "DiskMB": 0,
    "IOPS": 0,
    "Networks": None,
    "Devices": None,
    "NUMA": None,
    "SecretsMB": 0,
}
_UPDATE: Json = {
    "AutoPromote": False,
    "AutoRevert": False,
    "Canary": 0,
    "HealthCheck": "",
    "HealthyDeadline": 0,
    "MaxParallel": 0,
    "MinHealthyTime": 0,
    "ProgressDeadline": 0,
    "Stagger": 0,
}
_IDENTITY: Json = {
    "Audience": ["nomadproject.io"],
    "ChangeMode": "",
    "ChangeSignal": "",
    "Env": False,
    "ExtraClaims": None,
    "File": False,
    "Filepath": "",
    "Name": "default",
    "ServiceName": "",
    "TTL": 0,
}
_TEMPLATE: Json = {
    "SourcePath": "",
    "DestPath": "",
    "EmbeddedTmpl": "",
    "ChangeMode": "restart",
    "ChangeSignal": "",
    "ChangeScript": None,
    "Once": False,
    "Splay": 5 * SECOND,
    "Perms": "0644",
    "Uid": None,
    "Gid": None,
    "LeftDelim": "{{",
    "RightDelim": "}}",
    "Envvars": False,
    "VaultGrace": 0,
    "Wait": None,
    "ErrMissingKey": False,
}
_MOUNT: Json = {
    "Destination": "",
    "PropagationMode": "private",
    "ReadOnly": False,
    "SELinuxLabel": "",
    "Volume": "",
}
_VOLUME: Json = {
    "AccessMode": "",
    "AttachmentMode": "",
    "MountOptions": None,
    "Name": "",
    "PerAlloc": False,
    "ReadOnly": False,
    "Source": "",
    "Sticky": False,
    "Type": "",
}
_TASK: Json = {
    "Actions": None,
    "Affinities": None,
    "Artifacts": None,
    "CSIPluginConfig": None,
    "Config": None,
    "Constraints": None,
    "Consul": None,
    "DispatchPayload": None,
    "Driver": "",
    "Env": None,
    "Identities": None,
    "KillSignal": "",
    "KillTimeout": 5 * SECOND,
    "Kind": "",
    "Leader": False,
    "Lifecycle": None,
    "Meta": None,
    "Name": "",
    "ScalingPolicies": None,
    "Schedule": None,
    "Secrets": None,
    "Services": None,
    "ShutdownDelay": 0,
    "Templates": None,
    "User": "",
    "Vault": None,
    "VolumeMounts": None,
}
_GROUP: Json = {
    "Affinities": None,
    "Constraints": None,
    "Consul": None,
    "Count": 1,
    "Disconnect": None,
    "MaxClientDisconnect": None,
    "MaxRunDuration": None,
    "Meta": None,
    "Migrate": None,
    "Name": "",
    "Networks": None,
    "PreventRescheduleOnLost": False,
    "Scaling": None,
    "Services": None,
    "ShutdownDelay": None,
    "Spreads": None,
    "StopAfterClientDisconnect": None,
    "Update": None,
    "Volumes": None,
}
_JOB: Json = {
    "Affinities": None,
    "AllAtOnce": False,
    "Constraints": None,
    "ConsulNamespace": "",
    "Datacenters": ["*"],
    "DispatchIdempotencyToken": "",
    "Dispatched": False,
    "ID": "",
    "Meta": None,
    "Multiregion": None,
    "Name": "",
    "Namespace": "default",
    "NodePool": "default",
    "NomadTokenID": "",
    "ParameterizedJob": None,
    "ParentID": "",
    "Payload": None,
    "Periodic": None,
    "Priority": 50,
    "Region": "global",
    "Spreads": None,
    "Type": "service",
    "UI": None,
    "VaultNamespace": "",
}
# What Job.SpecChanged leaves out of its comparison (nomad/structs); Stop is not among them.
JOB_STATUS_FIELDS: Json = {
    "Status": "pending",
    "StatusDescription": "",
    "Stable": False,
    "Version": 0,
    "CreateIndex": 0,
    "ModifyIndex": 0,
    "JobModifyIndex": 0,
    "SubmitTime": 0,
    "VersionTag": None,
}


def _merge(defaults: Mapping[str, Any], given: Mapping[str, Any] | None) -> Json:
    """Known fields only (Go drops the others); an empty map or list counts as absent."""
    out = copy.deepcopy(dict(defaults))
    for key, value in (given or {}).items():
        if key in out and value is not None and value != {} and value != []:
            out[key] = copy.deepcopy(value)
    return out


def _canonical_task(task: Json, batch: bool, group_restart: Json) -> Json:
    out = _merge(_TASK, task)
    given = task.get("Resources") or {}
    out["Resources"] = _merge(_RESOURCES, given)
    if given.get("Cores") and "CPU" not in given:
        out["Resources"]["CPU"] = 0
    out["LogConfig"] = _merge({"Disabled": False, "MaxFileSizeMB": 10, "MaxFiles": 10}, task.get("LogConfig"))
    out["RestartPolicy"] = _merge(group_restart, task.get("RestartPolicy"))
    out["Identity"] = _merge(_IDENTITY, task.get("Identity"))
    if out["Lifecycle"]:
        out["Lifecycle"] = _merge({"Hook": "", "Sidecar": False}, out["Lifecycle"])
    if out["VolumeMounts"]:
        out["VolumeMounts"] = [_merge(_MOUNT, m) for m in out["VolumeMounts"]]
    if out["Templates"]:
        out["Templates"] = [_merge(_TEMPLATE, t) for t in out["Templates"]]
    if out["Constraints"]:
        out["Constraints"] = [_merge({"LTarget": "", "RTarget": "", "Operand": ""}, c) for c in out["Constraints"]]
    return out


def canonical_job(job: Json, namespace: str) -> Json:
    """What api.Job.Canonicalize and structs.Job.Canonicalize make of a submitted job."""
    out = _merge(_JOB, job)
    out["Namespace"] = job.get("Namespace") or namespace
    out["Name"] = out["Name"] or out["ID"]
    out["Stop"] = bool(job.get("Stop"))
    out["Update"] = copy.deepcopy(_UPDATE)
    out.update(copy.deepcopy(JOB_STATUS_FIELDS))
    batch = out["Type"] in ("batch", "sysbatch")
    restart = {
        "Attempts": 3 if batch else 2,
        "Delay": 15 * SECOND,
        "Interval": 24 * HOUR if batch else HOUR // 2,
        "Mode": "fail",
        "RenderTemplates": False,
    }
    again = (
        {
            "Attempts": 1,
            "Delay": 5 * SECOND,
            "DelayFunction": "constant",
            "Interval": 24 * HOUR,
            "MaxDelay": 0,
            "Unlimited": False,
        }
        if batch
        else {
            "Attempts": 0,
            "Delay": 30 * SECOND,
            "DelayFunction": "exponential",
            "Interval": 0,
            "MaxDelay": HOUR,
            "Unlimited": True,
        }
    )
    groups = []
    for group in job.get("TaskGroups") or []:
        tg = _merge(_GROUP, group)
        tg["EphemeralDisk"] = _merge({"Migrate": False, "SizeMB": 300, "Sticky": False}, group.get("EphemeralDisk"))
        tg["RestartPolicy"] = _merge(restart, group.get("RestartPolicy"))
        tg["ReschedulePolicy"] = _merge(again, group.get("ReschedulePolicy"))
        if tg["Constraints"]:
            tg["Constraints"] = [_merge({"LTarget": "", "RTarget": "", "Operand": ""}, c) for c in tg["Constraints"]]
        if tg["Volumes"]:
            # an unknown type is dropped, not refused: then its mounts are "undefined" (measured)
            known = {k: _merge(_VOLUME, v) for k, v in tg["Volumes"].items() if v.get("Type") in ("csi", "host")}
            tg["Volumes"] = known or None
        tg["Tasks"] = [_canonical_task(t, batch, tg["RestartPolicy"]) for t in group.get("Tasks") or []]
        groups.append(tg)
    out["TaskGroups"] = groups or None
    if out["Constraints"]:
        out["Constraints"] = [_merge({"LTarget": "", "RTarget": "", "Operand": ""}, c) for c in out["Constraints"]]
    return out


_OPERANDS = {
    "=",
    "==",
    "is",
    "!=",
    "not",
    ">",
    ">=",
    "<",
    "<=",
    "distinct_hosts",
    "distinct_property",
    "regexp",
    "version",
    "semver",
    "is_set",
    "is_not_set",
    "set_contains",
    "set_contains_all",
    "set_contains_any",
}


def _constraint_errors(constraints: list[Json] | None) -> list[str]:
    out = []
    for number, constraint in enumerate(constraints or [], 1):
        errs = []
        operand = constraint["Operand"]
        if not operand:
            errs.append("Missing constraint operand")
        if operand not in _OPERANDS:
            errs.append(f"Unknown constraint type {json.dumps(operand)}")
        elif operand == "regexp":
            try:
                re.compile(constraint["RTarget"])
            except re.error as exc:
                errs.append(f"Regular expression failed to compile: {exc}")
        if errs:
            out.append(f"Constraint {number} validation failed: {multierror(errs)}")
    return out


def _volume_errors(request: Json, count: int) -> list[str]:
    """VolumeRequest.Validate; texts measured."""
    errs = []
    access, attach, options = request["AccessMode"], request["AttachmentMode"], request["MountOptions"]
    if not request["Source"]:
        errs.append("volume has an empty source")
    if request["Type"] == "host":
        if options is not None:
            errs.append("host volumes cannot have mount options")
        if access and not access.startswith("single-node-"):
            errs.append(f"host volumes cannot be mounted with {access} access mode")
    else:
        if not attach:
            errs.append("CSI volumes must have an attachment mode")
        elif attach == "block-device" and options is not None:
            errs.append("block devices cannot have mount options")
        if not access:
            errs.append("CSI volumes must have an access mode")
        elif access == "single-node-writer" and count > 1 and not request["PerAlloc"]:
            errs.append("volume with single-node-writer access mode allows only one reader or writer")
    if access in ("single-node-reader-only", "multi-node-reader-only") and not request["ReadOnly"]:
        errs.append(f"{access} volumes must be read-only")
    return errs


def _mount_errors(task: Json, volumes: Json) -> list[str]:
    errs = []
    for number, mount in enumerate(task["VolumeMounts"] or []):
        inner = []
        if mount["Volume"] not in volumes:
            errs.append(f"Volume Mount ({number}) references undefined volume {mount['Volume']}")
        if not mount["Volume"]:
            inner.append("volume mount references an empty volume")
        if mount["PropagationMode"] not in ("", "private", "host-to-task", "bidirectional"):
            inner.append(f"volume mount has an invalid propagation mode: {json.dumps(mount['PropagationMode'])}")
        if inner:
            errs.append(f'Volume Mount ({number}) is invalid: "{multierror(inner)}"')
    return errs


def _task_errors(task: Json, disk_mb: int, volumes: Json) -> list[str]:
    errs = []
    if not task["Name"]:
        errs.append("Missing task name")
    if not task["Driver"]:
        errs.append("Missing task driver")
    res = task["Resources"]
    size, inner = [], []
    if res["Cores"] > 0 and res["CPU"] > 0:
        size.append("Task can only ask for 'cpu' or 'cores' resource, not both.")
    if res["Cores"] == 0 and res["CPU"] < 1:
        inner.append(f"minimum CPU value is 1; got {res['CPU']}")
    if res["MemoryMB"] < 10:
        inner.append(f"minimum MemoryMB value is 10; got {res['MemoryMB']}")
    if inner:
        size.append(multierror(inner))
    if 0 != res["MemoryMaxMB"] != -1 and res["MemoryMaxMB"] < res["MemoryMB"]:
        size.append(
            f"MemoryMaxMB value ({res['MemoryMaxMB']}) should be larger than MemoryMB value ({res['MemoryMB']})"
        )
    if res["SecretsMB"] > res["MemoryMB"]:
        size.append(f"SecretsMB value ({res['SecretsMB']}) cannot be larger than MemoryMB value ({res['MemoryMB']})")
    if size:
        errs.append(multierror(size))
    log = task["LogConfig"]["MaxFiles"] * task["LogConfig"]["MaxFileSizeMB"]
    if not task["LogConfig"]["Disabled"] and disk_mb <= log:
        errs.append(multierror([f"log storage ({log} MB) must be less than requested disk capacity ({disk_mb} MB)"]))
    errs.extend(_constraint_errors(task["Constraints"]))
    errs.extend(_mount_errors(task, volumes))
    return errs


def validate_job(job: Json, namespaces: Iterable[str], pools: Iterable[str]) -> None:
    """Job.Validate and its admission hooks, as far as a machine's job can fail them; texts measured."""
    errs: list[str] = []
    if " " in job["ID"]:
        errs.append("Job ID contains a space")
    if job["Type"] not in ("service", "batch", "system", "sysbatch"):
        errs.append(f"Invalid job type: {json.dumps(job['Type'])}")
    if not 1 <= job["Priority"] <= 100:
        errs.append("job priority must be between [1, 100]")
    if not job["TaskGroups"]:
        errs.append("Missing job task groups")
    errs.extend(_constraint_errors(job["Constraints"]))
    for group in job["TaskGroups"] or []:
        inner = _constraint_errors(group["Constraints"])
        if not group["Tasks"]:
            inner.append("Missing tasks for task group")
        for name, request in (group["Volumes"] or {}).items():
            if bad := _volume_errors(request, group["Count"]):
                inner.append(f"Task group volume validation for {name} failed: {multierror(bad)}")
        for task in group["Tasks"]:
            if bad := _task_errors(task, group["EphemeralDisk"]["SizeMB"], group["Volumes"] or {}):
                inner.append(f"Task {task['Name']} validation failed: {multierror(bad)}")
        if inner:
            errs.append(f"Task group {group['Name']} validation failed: {multierror(inner)}")
    if not errs and job["Namespace"] not in set(namespaces):
        errs.append(f'job "{job["ID"]}" is in nonexistent namespace "{job["Namespace"]}"')
    if not errs and job["NodePool"] not in set(pools):
        errs.append(f'job "{job["ID"]}" is in nonexistent node pool "{job["NodePool"]}"')
    if errs:
        raise NomadError(500, multierror(errs))


def spec_changed(old: Json, new: Json) -> bool:
    """Job.SpecChanged: everything but status, indexes and submit time; Stop counts (nomad/structs)."""
    keys = (old.keys() | new.keys()) - JOB_STATUS_FIELDS.keys()
    return any(old.get(k) != new.get(k) for k in keys)


# --------------------------------------------------------------------------------------------------------------- nodes


@dataclass
class Node:
    """One simulated client agent with its docker driver."""

    id: str
    name: str
    datacenter: str = "dc1"
    pool: str = "default"
    node_class: str = ""
    cpu: int = 8000
    cores: int = 4
    memory: int = 16384
    disk: int = 100_000
    volumes_enabled: bool = True
    privileged_enabled: bool = True
    docker_healthy: bool = True
    host_volume_plugins: tuple[str, ...] = ("mkdir",)
    attributes: dict[str, str] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    status: str = "ready"
    eligibility: str = "eligible"
    drain: bool = False
    create_index: int = 0
    modify_index: int = 0
    hogs: dict[str, dict[str, int]] = field(default_factory=dict)
    http_addr: str = ""
    """Of the client's own agent; the simulator's address where a test gives none (a dev agent is both)."""
    updated_ns: int = field(default_factory=now_ns)

    @property
    def ready(self) -> bool:
        """Node.Ready: up, not draining, eligible."""
        return self.status == "ready" and not self.drain and self.eligibility == "eligible"

    def driver_attributes(self) -> dict[str, str]:
        """The docker driver's fingerprint: a switched-off feature has no attribute at all (drivers/docker)."""
        out = {
            "driver.docker.version": "20.10.24",
            "driver.docker.os_type": "linux",
            "driver.docker.runtimes": "io.containerd.runc.v2,runc",
            "driver.docker.bridge_ip": "172.17.0.1",
        }
        if self.privileged_enabled:
            out["driver.docker.privileged.enabled"] = "true"
        if self.volumes_enabled:
            out["driver.docker.volumes.enabled"] = "true"
        return out

    def all_attributes(self) -> dict[str, str]:
        """Node attributes; the driver itself is "1" here but "true" in the driver's own list (measured)."""
        out = {
            "kernel.name": "linux",
            "kernel.arch": "x86_64",
            "kernel.version": "6.1.0",
            "cpu.arch": "amd64",
            "cpu.numcores": str(self.cores),
            "cpu.totalcompute": str(self.cpu),
            "cpu.usablecompute": str(self.cpu),
            "cpu.reservablecores": str(self.cores),
            "cpu.frequency": str(self.cpu // max(self.cores, 1)),
            "memory.totalbytes": str(self.memory << 20),
            "nomad.version": VERSION,
            "os.name": "debian",
            "os.version": "12.11",
            "os.cgroups.version": "2",
            "unique.hostname": self.name,
            "unique.network.ip-address": "127.0.0.1",
            "nomad.service_discovery": "true",
        }
        if self.docker_healthy:
            out["driver.docker"] = "1"
            out.update(self.driver_attributes())
        out.update({f"plugins.host_volume.{name}.version": "0.0.1" for name in self.host_volume_plugins})
        out.update(self.attributes)
        return out

    def drivers(self) -> Json:
        attrs = {"driver.docker": "true", **self.driver_attributes()} if self.docker_healthy else {}
        text = "Healthy" if self.docker_healthy else "Failed to connect to docker daemon"
        return {
            "docker": {
                "Attributes": attrs,
                "Detected": self.docker_healthy,
                "Healthy": self.docker_healthy,
                "HealthDescription": text,
                "UpdateTime": rfc3339(self.updated_ns),
            },
        }

    def resources(self) -> Json:
        return {
            "Cpu": {"CpuShares": self.cpu, "ReservableCpuCores": list(range(self.cores)), "TotalCpuCores": self.cores},
            "Devices": None,
            "Disk": {"DiskMB": self.disk},
            "MaxDynamicPort": 32000,
            "MinDynamicPort": 20000,
            "Memory": {"MemoryMB": self.memory},
            "Networks": [
                {"Mode": "bridge"},
                {"CIDR": "127.0.0.1/32", "Device": "lo", "IP": "127.0.0.1", "MBits": 1000, "Mode": "host"},
            ],
            "NodeNetworks": None,
        }

    @staticmethod
    def reserved() -> Json:
        return {
            "Cpu": {"CpuShares": 0, "ReservedCpuCores": None},
            "Disk": {"DiskMB": 0},
            "Memory": {"MemoryMB": 0},
            "Networks": {"ReservedHostPorts": ""},
        }

    def computed_class(self) -> str:
        """Nodes of one class are judged once per evaluation (Node.ComputeClass leaves out unique.* values)."""
        attrs = {k: v for k, v in self.all_attributes().items() if not k.startswith("unique.")}
        meta = {k: v for k, v in self.meta.items() if not k.startswith("unique.")}
        key = json.dumps([self.datacenter, self.pool, self.node_class, attrs, meta], sort_keys=True)
        return f"v1:{random.Random(key).getrandbits(62)}"

    def stub(self, resources: bool) -> Json:
        out = {
            "Address": "127.0.0.1",
            "ID": self.id,
            "Datacenter": self.datacenter,
            "Name": self.name,
            "NodePool": self.pool,
            "NodeClass": self.node_class,
            "Version": VERSION,
            "Drain": self.drain,
            "SchedulingEligibility": self.eligibility,
            "Status": self.status,
            "StatusDescription": "",
            "Drivers": self.drivers(),
            "LastDrain": None,
            "CreateIndex": self.create_index,
            "ModifyIndex": self.modify_index,
        }
        if resources:
            out["NodeResources"] = self.resources()
            out["ReservedResources"] = self.reserved()
        return out

    def full(self) -> Json:
        drain = {"Deadline": 0, "ForceDeadline": None, "IgnoreSystemJobs": False, "StartedAt": None}
        return {
            "Attributes": self.all_attributes(),
            "CgroupParent": "nomad.slice",
            "ComputedClass": self.computed_class(),
            "CreateIndex": self.create_index,
            "Datacenter": self.datacenter,
            "Drain": self.drain,
            "DrainStrategy": drain if self.drain else None,
            "Drivers": self.drivers(),
            "Events": [
                {
                    "CreateIndex": 0,
                    "Details": None,
                    "Message": "Node registered",
                    "Subsystem": "Cluster",
                    "Timestamp": rfc3339(self.updated_ns),
                }
            ],
            "GCVolumesOnNodeGC": False,
            "HTTPAddr": self.http_addr,
            "HostNetworks": None,
            "ID": self.id,
            "LastDrain": None,
            "LastMissedHeartbeatIndex": 0,
            "LastAllocUpdateIndex": 0,
            "Links": {},
            "Meta": self.meta,
            "ModifyIndex": self.modify_index,
            "Name": self.name,
            "NodeClass": self.node_class,
            "NodeMaxAllocs": 0,
            "NodePool": self.pool,
            "NodeResources": self.resources(),
            "ReservedResources": self.reserved(),
            "SchedulingEligibility": self.eligibility,
            "SecretID": "",
            "Status": self.status,
            "StatusDescription": "",
            "StatusUpdatedAt": self.updated_ns // SECOND,
            "TLSEnabled": False,
        }


# --------------------------------------------------------------------------------------------------------- allocations

_TRANSITION: Json = {
    "ForceReschedule": None,
    "Migrate": None,
    "MigrateDisablePlacement": None,
    "NoShutdownDelay": None,
    "Reschedule": None,
}


@dataclass
class Alloc:
    """An allocation as the servers know it; the client's runner lives in client.py."""

    id: str
    eval_id: str
    job: Json
    group: str
    node: Node
    metrics: Json
    name: str
    cores: list[int] = field(default_factory=list)
    desired: str = "run"
    desired_description: str = ""
    transition: Json = field(default_factory=lambda: dict(_TRANSITION))
    client: str = "pending"
    client_description: str = ""
    task_states: Json | None = None
    preempted_by: str = ""
    previous: str = ""
    next: str = ""
    create_index: int = 0
    modify_index: int = 0
    alloc_modify_index: int = 0
    create_ns: int = field(default_factory=now_ns)
    modify_ns: int = field(default_factory=now_ns)

    @property
    def task_group(self) -> Json:
        return next(g for g in self.job["TaskGroups"] if g["Name"] == self.group)

    @property
    def client_terminal(self) -> bool:
        return self.client in TERMINAL_CLIENT

    @property
    def terminal(self) -> bool:
        """Allocation.TerminalStatus: what the servers want counts as much as what the client says."""
        return self.desired in ("stop", "evict") or self.client_terminal

    def comparable(self) -> tuple[int, int, int, int]:
        """CPU, reserved cores, memory, disk: the larger of the main and the poststop phase (AllocatedResources)."""
        return group_resources(self.task_group)

    def stub(self) -> Json:
        return {
            "ID": self.id,
            "EvalID": self.eval_id,
            "Name": self.name,
            "Namespace": self.job["Namespace"],
            "NodeID": self.node.id,
            "NodeName": self.node.name,
            "JobID": self.job["ID"],
            "JobType": self.job["Type"],
            "JobVersion": self.job["Version"],
            "TaskGroup": self.group,
            "DesiredStatus": self.desired,
            "DesiredDescription": self.desired_description,
            "ClientStatus": self.client,
            "ClientDescription": self.client_description,
            "DesiredTransition": self.transition,
            "TaskStates": self.task_states,
            "DeploymentStatus": None,
            "FollowupEvalID": "",
            "NextAllocation": self.next,
            "RescheduleTracker": None,
            "PreemptedAllocations": None,
            "PreemptedByAllocation": self.preempted_by,
            "CreateIndex": self.create_index,
            "ModifyIndex": self.modify_index,
            "CreateTime": self.create_ns,
            "ModifyTime": self.modify_ns,
        }

    def full(self) -> Json:
        tasks, lifecycles, old = {}, {}, {}
        for task in self.task_group["Tasks"]:
            res = task["Resources"]
            tasks[task["Name"]] = {
                "Cpu": {"CpuShares": res["CPU"], "ReservedCores": self.cores or None},
                "Devices": None,
                "Memory": {"MemoryMB": res["MemoryMB"], "MemoryMaxMB": res["MemoryMaxMB"]},
                "Networks": None,
            }
            lifecycles[task["Name"]] = task["Lifecycle"]
            old[task["Name"]] = res
        disk = self.task_group["EphemeralDisk"]["SizeMB"]
        zero = dict.fromkeys(("CPU", "Cores", "DiskMB", "IOPS", "MemoryMB", "MemoryMaxMB", "SecretsMB"), 0)
        nothing = {"Devices": None, "NUMA": None, "Networks": None}
        memory = sum(r["MemoryMB"] for r in old.values())
        out = {
            **self.stub(),
            "AllocModifyIndex": self.alloc_modify_index,
            "AllocatedResources": {
                "Shared": {"DiskMB": disk, "Networks": None, "Ports": None},
                "TaskLifecycles": lifecycles,
                "Tasks": tasks,
            },
            "Job": self.job,
            "Metrics": self.metrics,
            "PreviousAllocation": self.previous,
            "Resources": {
                **zero,
                **nothing,
                "CPU": sum(r["CPU"] for r in old.values()),
                "DiskMB": disk,
                "MemoryMB": memory,
                "MemoryMaxMB": memory,
            },
            "SharedResources": {**zero, **nothing, "DiskMB": disk},
            "TaskResources": old,
        }
        if self.client != "pending":
            out["NetworkStatus"] = {"Address": "", "AddressIPv6": "", "DNS": None, "InterfaceName": ""}
        if all(v is None for v in self.transition.values()):
            del out["DesiredTransition"]
        for key in ("JobType", "JobVersion"):
            del out[key]
        return omit_empty(out)


def group_resources(group: Json) -> tuple[int, int, int, int]:
    """AllocatedResources.Comparable: cores never shared; else the larger of main and poststop."""
    main, stop = [0, 0], [0, 0]
    cores = 0
    for task in group["Tasks"]:
        res = task["Resources"]
        cores += res["Cores"]
        phase = stop if (task["Lifecycle"] or {}).get("Hook") == "poststop" else main
        phase[0] += res["CPU"] if not res["Cores"] else 0
        phase[1] += res["MemoryMB"]
    return max(main[0], stop[0]), cores, max(main[1], stop[1]), group["EphemeralDisk"]["SizeMB"]


# --------------------------------------------------------------------------------------------------------------- store


class Store:
    """All tables, one index, and the watchers of blocking queries."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.index = 10
        self.tables = {"jobs": 1, "allocs": 1, "evals": 1, "nodes": 1}
        self.jobs: dict[tuple[str, str], Json] = {}
        self.allocs: dict[str, Alloc] = {}
        self.evals: dict[str, Json] = {}
        self.nodes: dict[str, Node] = {}
        self.namespaces: dict[str, str] = {"default": "Default shared namespace"}
        self.pools: set[str] = {"default", "all"}
        self._waiters: set[asyncio.Future[None]] = set()

    def uuid(self) -> str:
        """A UUID from the seeded generator, so that a run can be repeated."""
        raw = f"{self.rng.getrandbits(128):032x}"
        return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"

    def apply(self, *tables: str) -> int:
        """One Raft entry: a new index for the tables; watchers look again after the current step."""
        self.index += 1
        for table in tables:
            self.tables[table] = self.index
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        return self.index

    async def query(self, run: Callable[[], tuple[int, Any]], index: int, wait_ns: int) -> tuple[int, Any]:
        """blockingRPC (nomad/rpc.go): 5 min unless told, 10 at most, plus up to a sixteenth of jitter."""
        got = run()
        if index <= 0 or got[0] > index:
            return got
        limit = min(wait_ns or 300 * SECOND, 600 * SECOND) / SECOND
        deadline = asyncio.get_running_loop().time() + limit + self.rng.random() * limit / 16
        while got[0] <= index:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                async with asyncio.timeout(left):
                    await waiter
            except TimeoutError:
                pass
            finally:
                self._waiters.discard(waiter)
            got = run()
        return got

    # -- lookups

    def job(self, namespace: str, job_id: str) -> Json | None:
        return self.jobs.get((namespace, job_id))

    def allocs_of(self, namespace: str, job_id: str) -> list[Alloc]:
        return [a for a in self.allocs.values() if a.job["ID"] == job_id and a.job["Namespace"] == namespace]

    def evals_of(self, namespace: str, job_id: str) -> list[Json]:
        return [e for e in self.evals.values() if e["JobID"] == job_id and e["Namespace"] == namespace]

    # -- job status

    def refresh_status(self, namespace: str, job_id: str, index: int) -> None:
        """getJobStatus (nomad/state): running with any live allocation, pending with a live evaluation, else dead."""
        job = self.job(namespace, job_id)
        if job is None:
            return
        evals = self.evals_of(namespace, job_id)
        if any(not a.terminal for a in self.allocs_of(namespace, job_id)):
            status = "running"
        elif any(e["Status"] in ("pending", "blocked") for e in evals):
            status = "pending"
        else:
            status = "dead" if evals or job["Stop"] else "pending"
        if job["Status"] != status:
            job["Status"] = status
            job["ModifyIndex"] = index
            self.tables["jobs"] = index

    def job_stub(self, job: Json) -> Json:
        counts = {}
        for group in job["TaskGroups"] or []:
            row = dict.fromkeys(("Complete", "Failed", "Lost", "Queued", "Running", "Starting", "Unknown"), 0)
            names = {
                "complete": "Complete",
                "failed": "Failed",
                "lost": "Lost",
                "running": "Running",
                "pending": "Starting",
                "unknown": "Unknown",
            }
            for alloc in self.allocs_of(job["Namespace"], job["ID"]):
                if alloc.group == group["Name"]:
                    row[names[alloc.client]] += 1
            if job["Status"] == "pending":
                row["Queued"] = group["Count"]
            counts[group["Name"]] = row
        keys = (
            "CreateIndex",
            "Datacenters",
            "ID",
            "JobModifyIndex",
            "ModifyIndex",
            "Multiregion",
            "Name",
            "Namespace",
            "NodePool",
            "ParentID",
            "Priority",
            "Status",
            "StatusDescription",
            "Stop",
            "SubmitTime",
            "Type",
        )
        summary = {
            "Children": {"Dead": 0, "Pending": 0, "Running": 0},
            "CreateIndex": job["CreateIndex"],
            "JobID": job["ID"],
            "ModifyIndex": job["ModifyIndex"],
            "Namespace": job["Namespace"],
            "Summary": counts,
        }
        return {**{k: job[k] for k in keys}, "JobSummary": summary, "ParameterizedJob": False, "Periodic": False}
