"""CSI volumes and their plugins, dynamic host volumes, claims, and the directories behind them.

What the servers answer was measured with Nomad 2.0.6-dev and the CSI hostpath driver 1.17, which is what a plugin here
does: it knows a volume by its name, expands, and deletes a volume that is in use (see `CsiPlugin.protects_used`).
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .state import Alloc, Json, Node, NomadError, Store, multierror, now_ns

MAX_SIZE = 1 << 40
"""The hostpath driver's largest volume (measured)."""

_WRITERS = ("single-node-writer", "multi-node-single-writer", "multi-node-multi-writer")
_ACCESS = ("single-node-reader-only", "multi-node-reader-only", *_WRITERS)
_ATTACH = ("file-system", "block-device")
_HOST_ACCESS = (
    "single-node-reader-only",
    "single-node-writer",
    "single-node-single-writer",
    "single-node-multi-writer",
)
_TOPOLOGY = "topology.hostpath.csi/node"


def short_bytes(size: int) -> str:
    """humanize.Bytes: powers of 1000, one decimal below ten."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 1000 or unit == "PB":
            break
        value /= 1000
    return f"{value:.1f} {unit}" if unit != "B" and value < 10 else f"{value:.0f} {unit}"


def inner_error(code: str, text: str) -> str:
    return f"rpc error: code = {code} desc = {text}"


@dataclass
class CsiPlugin:
    """A CSI plugin with its controller and one node instance per client; tests set the fields."""

    id: str
    controller_healthy: bool = True
    absent_nodes: set[str] = field(default_factory=set)
    """Names of the nodes where the plugin does not run."""
    unhealthy_nodes: set[str] = field(default_factory=set)
    topology: bool = False
    """Volumes belong to the node they were asked for (as a plugin of local disks has it)."""
    expands: bool = True
    expand_error: str = ""
    """What the plugin refuses to expand with, with its gRPC code: "Code: text"."""
    create_error: str = ""
    create_delay: float = 0.0
    delete_failures: int = 0
    delete_error: str = "Internal: failed to delete volume"
    delete_delay: float = 0.0
    protects_used: bool = False
    """Refuse to delete what is published, as Ceph does. The hostpath driver does not: Nomad has the plugin delete first
    and looks for claims only then, so the data are gone although the answer is `volume in use` (measured)."""
    secrets: dict[str, str] = field(default_factory=dict)
    """What create and delete must come with; none is needed when empty."""
    create_index: int = 0

    def runs_on(self, node: Node) -> bool:
        return node.name not in self.absent_nodes

    def healthy_on(self, node: Node) -> bool:
        return self.runs_on(node) and node.name not in self.unhealthy_nodes and node.status == "ready"


@dataclass
class Backing:
    """A volume in the storage backend, whether Nomad knows it or not."""

    external_id: str
    plugin: str
    name: str
    capacity: int
    path: Path
    segments: dict[str, str] = field(default_factory=dict)


@dataclass
class Claim:
    """An allocation's claim; it outlives the allocation in the servers' state until it is released."""

    alloc_id: str
    node_id: str
    read_only: bool


@dataclass
class CsiVolume:
    """A registered CSI volume: what was asked for (`spec`) and what the servers add."""

    spec: Json
    plugin: str
    external_id: str
    capacity: int
    create_index: int = 0
    modify_index: int = 0
    access_mode: str = ""
    attachment_mode: str = ""
    claims: dict[str, Claim] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.spec["ID"])

    @property
    def namespace(self) -> str:
        return str(self.spec["Namespace"])

    def ids(self, read_only: bool) -> list[str]:
        return [c.alloc_id for c in self.claims.values() if c.read_only == read_only]

    def may_write(self) -> bool:
        """WriteSchedulable without the plugin's health."""
        asked = [c["AccessMode"] for c in self.spec["RequestedCapabilities"]]
        return any(m in _WRITERS for m in ([self.access_mode] if self.access_mode else asked))

    def free_writes(self) -> bool:
        """HasFreeWriteClaims."""
        if self.access_mode in ("single-node-writer", "multi-node-single-writer"):
            return not self.ids(False)
        return self.access_mode in ("", "multi-node-multi-writer")

    def free_reads(self) -> bool:
        if self.access_mode == "single-node-reader-only":
            return not self.ids(True)
        return self.access_mode != "single-node-writer" or not self.claims

    def sanitized_options(self) -> Json | None:
        """MountFlags may hold secrets and are never shown (measured)."""
        given = self.spec["MountOptions"]
        if given is None:
            return None
        flags = given.get("MountFlags")
        return {"FSType": given.get("FSType") or "", "MountFlags": ["[REDACTED]"] if flags else None}


@dataclass
class HostVolume:
    """A dynamic host volume; ready once its node has told that it has it."""

    row: Json
    path: Path
    parameters: dict[str, str] = field(default_factory=dict)


class ClaimError(Exception):
    """A claim or mount failed for good: the allocation's setup fails with this text."""


class ClaimBusy(Exception):
    """The volume has no free claim: the client tries again."""


_CSI_SPEC: Json = {
    "ID": "",
    "Name": "",
    "Namespace": "",
    "PluginID": "",
    "CloneID": "",
    "SnapshotID": "",
    "RequestedCapacityMin": 0,
    "RequestedCapacityMax": 0,
    "RequestedCapabilities": None,
    "RequestedTopologies": None,
    "MountOptions": None,
    "Parameters": None,
    "Secrets": None,
}


def _validate_csi(spec: Json) -> None:
    """CSIVolume.Validate (measured)."""
    errs = [text for key, text in (("ID", "missing volume id"), ("PluginID", "missing plugin id")) if not spec[key]]
    if spec["SnapshotID"] and spec["CloneID"]:
        errs.append("only one of snapshot_id and clone_id is allowed")
    if not spec["RequestedCapabilities"]:
        errs.append("must include at least one capability block")
    for key in ("Required", "Preferred"):
        for topology in (spec["RequestedTopologies"] or {}).get(key) or []:
            if not topology.get("Segments"):
                errs.append(f"{key.lower()} topology is missing segments field")
    if errs:
        raise NomadError(500, "validation: " + ", ".join(errs))


class Volumes:
    """Volumes of the region; changed from the loop's thread only."""

    def __init__(self, store: Store, root: Path) -> None:
        self.store = store
        self.root = root / "volumes"
        self.client_root = root
        self.plugins: dict[str, CsiPlugin] = {}
        self.csi: dict[tuple[str, str], CsiVolume] = {}
        self.host: dict[str, HostVolume] = {}
        self.backings: dict[str, Backing] = {}
        self.ready_delay = 0.02
        """When a node tells of a new host volume; the real clients gather such news for 1 s (measured)."""
        self.on_ready: Callable[[], None] = lambda: None
        self.tables = store.tables
        self.tables.update(csi_volumes=1, csi_plugins=1, host_volumes=1)

    # -- plugins

    def add_plugin(self, ident: str, **fields: Any) -> CsiPlugin:
        """A new plugin, or other fields of one that is there."""
        index = self.store.apply("csi_plugins")
        plugin = self.plugins.setdefault(ident, CsiPlugin(ident, create_index=index))
        for name, value in fields.items():
            if not hasattr(plugin, name):
                raise KeyError(name)
            setattr(plugin, name, set(value) if name.endswith("_nodes") else value)
        self.on_ready()
        return plugin

    def remove_plugin(self, ident: str) -> None:
        """As when the plugin's job was purged: the servers forget it, its volumes stay registered."""
        del self.plugins[ident]
        self.store.apply("csi_plugins")

    def health(self, ident: str) -> Json:
        plugin = self.plugins.get(ident)
        nodes = [n for n in self.store.nodes.values() if plugin is not None and plugin.runs_on(n)]
        return {
            "ControllerRequired": plugin is not None,
            "ControllersExpected": int(plugin is not None),
            "ControllersHealthy": int(plugin is not None and plugin.controller_healthy),
            "NodesExpected": len(nodes),
            "NodesHealthy": sum(plugin.healthy_on(n) for n in nodes) if plugin is not None else 0,
        }

    def plugin_json(self, ident: str, full: bool) -> Json | None:
        plugin = self.plugins.get(ident)
        if plugin is None:
            return None
        out = {
            **self.health(ident),
            "ID": ident,
            "Provider": "csi-hostpath",
            "CreateIndex": plugin.create_index,
            "ModifyIndex": plugin.create_index,
        }
        if full:
            nodes = [n for n in self.store.nodes.values() if plugin.runs_on(n)]
            jobs = {"default": {"csi-plugin": {"Expected": 1, "ID": "csi-plugin", "Namespace": "default"}}}
            out.update(
                Allocations=[],
                ControllerJobs=jobs,
                NodeJobs=jobs,
                Controllers={n.id: self._controller_info(plugin) for n in nodes[:1]},
                Nodes={n.id: self._node_info(plugin, n) for n in nodes},
                Version="v1.17.0",
                CreateTime=0,
                ModifyTime=0,
            )
        return out

    @staticmethod
    def _instance(plugin: CsiPlugin, healthy: bool) -> Json:
        return {
            "AllocID": "",
            "HealthDescription": "healthy" if healthy else "unhealthy",
            "Healthy": healthy,
            "PluginID": plugin.id,
            "Provider": "csi-hostpath",
            "ProviderVersion": "v1.17.0",
            "RequiresControllerPlugin": True,
            "RequiresTopologies": True,
            "UpdateTime": "2026-01-01T00:00:00Z",
        }

    def _controller_info(self, plugin: CsiPlugin) -> Json:
        can = {"SupportsCreateDelete": True, "SupportsExpand": plugin.expands, "SupportsAttachDetach": False}
        return {**self._instance(plugin, plugin.controller_healthy), "ControllerInfo": can}

    def _node_info(self, plugin: CsiPlugin, node: Node) -> Json:
        info = {
            "AccessibleTopology": {"Segments": {_TOPOLOGY: node.name}},
            "ID": node.name,
            "MaxVolumes": 9223372036854775807,
            "RequiresNodeStageVolume": True,
            "SupportsCondition": True,
            "SupportsExpand": True,
            "SupportsStats": True,
        }
        return {**self._instance(plugin, plugin.healthy_on(node)), "NodeInfo": info}

    def fingerprint(self, node: Node) -> Json:
        """What a node's own JSON tells of volumes and plugins."""
        plugins = [p for p in self.plugins.values() if p.runs_on(node)]
        host = {
            v.row["Name"]: {"ID": v.row["ID"], "Name": v.row["Name"], "Path": str(v.path), "ReadOnly": False}
            for v in self.host.values()
            if v.row["NodeID"] == node.id and v.row["State"] == "ready"
        }
        return {
            "HostVolumes": host,
            "CSIControllerPlugins": {p.id: self._controller_info(p) for p in plugins[:1]},
            "CSINodePlugins": {p.id: self._node_info(p, node) for p in plugins},
        }

    # -- CSI: create, read, delete

    async def create_csi(
        self, given: list[Json], namespace: str, allow: Callable[[str], None]
    ) -> tuple[int, list[Json]]:
        """CSIVolume.Create: all are checked first, then each is made, or merged into the one that is there."""
        specs = [{**_CSI_SPEC, **{k: v for k, v in g.items() if k in _CSI_SPEC and v is not None}} for g in given]
        for spec in specs:
            spec["Namespace"] = spec["Namespace"] or namespace
            allow(spec["Namespace"])
            _validate_csi(spec)
            self._usable(spec["PluginID"])
        errs: list[str] = []
        out: list[Json] = []
        for spec in specs:
            try:
                plugin = self._usable(spec["PluginID"])
                volume = self.csi.get((spec["Namespace"], spec["ID"]))
                if volume is not None:
                    self._merge(volume, self._segments(volume), spec)
                    await self._expand(volume, plugin, spec)
                    out.append(self.csi_json(volume, allocations=False))
                else:
                    volume = await self._make(plugin, spec)
                    out.append({**self.csi_json(volume), **self._unsaved()})
                volume.modify_index = self.store.apply("csi_volumes")
                volume.create_index = volume.create_index or volume.modify_index
            except NomadError as exc:
                errs.append(exc.text)
        if errs:
            raise NomadError(500, multierror(errs))
        self.on_ready()
        return self.store.index, out

    @staticmethod
    def _unsaved() -> Json:
        """A new volume is answered before the state store has filled it in (measured)."""
        zero = (
            "ControllersExpected",
            "ControllersHealthy",
            "NodesExpected",
            "NodesHealthy",
            "CreateIndex",
            "ModifyIndex",
        )
        return {**dict.fromkeys(zero, 0), "ControllerRequired": False, "Schedulable": False}

    def _usable(self, ident: str) -> CsiPlugin:
        plugin = self.plugins.get(ident)
        if plugin is None:
            raise NomadError(500, f"no CSI plugin named: {ident} could be found")
        if not plugin.controller_healthy:
            raise NomadError(500, f"no healthy controllers for CSI plugin: {ident}")
        return plugin

    async def _make(self, plugin: CsiPlugin, spec: Json) -> CsiVolume:
        """The plugin's CreateVolume, then the state store, whose refusal leaves the backing behind (measured)."""
        head = "controller create volume: CSI.ControllerCreateVolume: "
        await asyncio.sleep(plugin.create_delay)
        if text := self._bad_request(spec):
            raise NomadError(500, head + text)
        if wrong := self._secrets_error(plugin, spec["Secrets"] or {}):
            raise NomadError(500, head + wrong)
        if plugin.create_error:
            raise NomadError(500, head + self._plugin_error(plugin.create_error))
        backing = self._provision(plugin, spec, head)
        if spec["Namespace"] not in self.store.namespaces:
            raise NomadError(500, f"volume {spec['ID']} is in nonexistent namespace {spec['Namespace']}")
        key = (spec["Namespace"], spec["ID"])
        if key in self.csi:  # somebody else was faster; the second registration is an update of the same backing
            return self.csi[key]
        self.csi[key] = CsiVolume(spec, plugin.id, backing.external_id, backing.capacity)
        return self.csi[key]

    @staticmethod
    def _bad_request(spec: Json) -> str:
        for capability in spec["RequestedCapabilities"]:
            if capability.get("AttachmentMode") not in _ATTACH:
                return f"unknown volume attachment mode: {capability.get('AttachmentMode') or ''}"
            if capability.get("AccessMode") not in _ACCESS:
                return f"unknown volume access mode: {capability.get('AccessMode') or ''}"
        if not spec["Name"]:
            return "missing Name"
        if 0 < spec["RequestedCapacityMax"] < spec["RequestedCapacityMin"]:
            return "LimitBytes cannot be less than RequiredBytes"
        return ""

    @staticmethod
    def _secrets_error(plugin: CsiPlugin, given: Mapping[str, str]) -> str:
        if all(given.get(k) == v for k, v in plugin.secrets.items()):
            return ""
        return inner_error("Unauthenticated" if given else "InvalidArgument", "provided secret is empty or wrong")

    @staticmethod
    def _plugin_error(text: str) -> str:
        """A fault's "Code: text" as Nomad words it: an internal error gets a hint in front."""
        code, _, rest = text.partition(": ")
        hint = "controller plugin returned an internal error, check the plugin allocation logs for more information: "
        return (hint if code == "Internal" else "") + inner_error(code, rest)

    def _provision(self, plugin: CsiPlugin, spec: Json, head: str) -> Backing:
        """A plugin knows a volume by its name, whatever namespace or id Nomad has for it (measured)."""
        size = spec["RequestedCapacityMin"]
        if size > MAX_SIZE:
            text = inner_error("OutOfRange", f"Requested capacity {size} exceeds maximum allowed {MAX_SIZE}")
            raise NomadError(500, f'{head}unsupported capacity_range for volume "{spec["Name"]}": {text}')
        for old in self.backings.values():
            if (old.plugin, old.name) == (plugin.id, spec["Name"]):
                if old.capacity < size:
                    why = f"Volume with the same name: {old.name} but with different size already exist"
                    raise NomadError(
                        500,
                        f'{head}volume "{old.name}" already exists but is incompatible with these parameters: '
                        + inner_error("AlreadyExists", why),
                    )
                return old
        ident = self.store.uuid()
        path = self.root / ident
        path.mkdir(parents=True)
        segments: dict[str, str] = {}
        if plugin.topology:
            wanted = (spec["RequestedTopologies"] or {}).get("Required") or []
            first = next((n.name for n in self.store.nodes.values() if plugin.healthy_on(n)), "")
            segments = dict(wanted[0]["Segments"]) if wanted else {_TOPOLOGY: first}
        self.backings[ident] = Backing(ident, plugin.id, spec["Name"], size, path, segments)
        return self.backings[ident]

    @staticmethod
    def _merge(volume: CsiVolume, segments: dict[str, str], spec: Json) -> None:
        """CSIVolume.Merge; texts measured. A member that is absent changes nothing, but for mount options and secrets."""
        old, errs = volume.spec, []
        for key, name in (("Name", "name"), ("PluginID", "plugin ID"), ("CloneID", "clone ID")):
            if spec[key] != old[key] and (spec[key] or key == "PluginID"):
                errs.append(f"volume {name} cannot be updated")
        modes = [(c.get("AccessMode"), c.get("AttachmentMode")) for c in spec["RequestedCapabilities"]]
        if volume.access_mode and (volume.access_mode, volume.attachment_mode) not in modes:
            errs.append("volume requested capabilities update was not compatible with existing capability in use")
        if segments and (spec["RequestedTopologies"] or None) != (old["RequestedTopologies"] or None):
            errs.append("volume topology request update was not compatible with existing topology")
        if volume.claims and spec["MountOptions"] != old["MountOptions"]:
            errs.append("can not update mount options while volume is in use")
        if spec["Parameters"] and spec["Parameters"] != (old["Parameters"] or {}):
            errs.append("volume parameters cannot be updated")
        if errs:
            raise NomadError(500, multierror(errs))
        for key in ("RequestedCapabilities", "MountOptions", "Secrets"):
            old[key] = spec[key]

    async def _expand(self, volume: CsiVolume, plugin: CsiPlugin, spec: Json) -> None:
        """expandVolume: the limit must leave what is there, and only a larger minimum asks the plugin."""
        least, most = spec["RequestedCapacityMin"], spec["RequestedCapacityMax"]
        old = volume.spec
        if (least, most) in ((0, 0), (old["RequestedCapacityMin"], old["RequestedCapacityMax"])):
            return
        for limit, name in ((least, "min"), (volume.capacity, "current")):
            if 0 < most < limit:
                raise NomadError(
                    500,
                    f"max requested capacity ({short_bytes(most)}) less than or equal to {name} ({short_bytes(limit)})",
                )
        if least > volume.capacity:
            await self._grow(volume, plugin, least)
        old["RequestedCapacityMin"], old["RequestedCapacityMax"] = least, most

    async def _grow(self, volume: CsiVolume, plugin: CsiPlugin, size: int) -> None:
        if not plugin.expands:
            raise NomadError(500, "expand is not implemented by this controller plugin")
        head = "unable to expand volume: controller expand volume: CSI.ControllerExpandVolume: "
        backing = self.backings.get(volume.external_id)
        if backing is None:
            raise NomadError(500, head + self._lost(volume))
        if size > MAX_SIZE:
            text = inner_error("OutOfRange", f"Requested capacity {size} exceeds maximum allowed {MAX_SIZE}")
            raise NomadError(500, f'{head}unsupported capacity_range for volume "{volume.external_id}": {text}')
        if plugin.expand_error:
            raise NomadError(500, head + self._plugin_error(plugin.expand_error))
        volume.capacity = backing.capacity = size

    @staticmethod
    def _lost(volume: CsiVolume) -> str:
        ident = volume.external_id
        text = inner_error("NotFound", f"volume id {ident} does not exist in the volumes list")
        return f'volume "{ident}" could not be found: {text}'

    async def delete_csi(self, namespace: str, ident: str, secrets: Mapping[str, str]) -> int:
        """CSIVolume.Delete: first the plugin, then the registration, which claims hold (measured in this order)."""
        volume = self._registered(namespace, ident)
        plugin = self.plugins.get(volume.plugin)
        if plugin is None:
            raise NomadError(500, f'plugin "{volume.plugin}" for volume "{ident}" not found')
        head = "controller delete volume: "
        if not plugin.controller_healthy:
            raise NomadError(500, f'{head}failed to find instances of controller plugin "{plugin.id}"')
        head += "CSI.ControllerDeleteVolume: "
        await asyncio.sleep(plugin.delete_delay)
        if wrong := self._secrets_error(plugin, {**(volume.spec["Secrets"] or {}), **secrets}):
            raise NomadError(500, head + wrong)
        if plugin.delete_failures > 0:
            plugin.delete_failures -= 1
            raise NomadError(500, head + self._plugin_error(plugin.delete_error))
        if plugin.protects_used and volume.claims:
            raise NomadError(500, head + self._plugin_error(f"Internal: {volume.external_id} is still being used"))
        self._wipe(volume.external_id, keep_directory=bool(volume.claims))
        return self.deregister_csi(namespace, ident, False)

    def _wipe(self, external_id: str, keep_directory: bool) -> None:
        """The data go; a volume that a task has mounted stays there as an empty directory (measured)."""
        backing = self.backings.pop(external_id, None)
        if backing is None:
            return
        shutil.rmtree(backing.path, ignore_errors=True)
        if keep_directory:
            backing.path.mkdir()

    def _registered(self, namespace: str, ident: str) -> CsiVolume:
        volume = self.csi.get((namespace, ident))
        if volume is None:
            raise NomadError(500, f"volume not found: {ident}")
        return volume

    def deregister_csi(self, namespace: str, ident: str, force: bool) -> int:
        """The registration only; the backing stays. `force` helps where all claiming allocations are terminal."""
        volume = self._registered(namespace, ident)
        held = [self.store.allocs.get(c) for c in volume.claims]
        if volume.claims and not (force and all(a is None or a.terminal for a in held)):
            raise NomadError(500, f"volume in use: {ident}")
        del self.csi[(namespace, ident)]
        if volume.external_id not in self.backings:
            shutil.rmtree(self.root / volume.external_id, ignore_errors=True)
        return self.store.apply("csi_volumes")

    def lose_backing(self, ident: str, namespace: str = "default") -> None:
        """The volume is deleted in the backend, behind Nomad's back."""
        self._wipe(self._registered(namespace, ident).external_id, keep_directory=False)

    def _segments(self, volume: CsiVolume) -> dict[str, str]:
        backing = self.backings.get(volume.external_id)
        return backing.segments if backing is not None else {}

    def _common_json(self, volume: CsiVolume) -> Json:
        health = self.health(volume.plugin)
        segments = self._segments(volume)
        return {
            **health,
            "AccessMode": volume.access_mode,
            "AttachmentMode": volume.attachment_mode,
            "CreateIndex": volume.create_index,
            "CreateTime": 0,
            "ExternalID": volume.external_id,
            "ID": volume.id,
            "ModifyIndex": volume.modify_index,
            "ModifyTime": 0,
            "Name": volume.spec["Name"],
            "Namespace": volume.namespace,
            "PluginID": volume.plugin,
            "Provider": "csi-hostpath",
            "ResourceExhausted": None,
            "Schedulable": health["NodesHealthy"] > 0 and health["ControllersHealthy"] > 0,
            "Topologies": [None, {"Segments": segments}] if segments else [],  # the null is the server's (measured)
        }

    def csi_stub(self, volume: CsiVolume) -> Json:
        return {
            **self._common_json(volume),
            "CurrentReaders": len(volume.ids(True)),
            "CurrentWriters": len(volume.ids(False)),
        }

    def csi_json(self, volume: CsiVolume, allocations: bool = True) -> Json:
        """GET /v1/volume/csi/:id; an allocation that was collected is in WriteAllocs but not in Allocations."""
        known = [self.store.allocs[c] for c in volume.claims if c in self.store.allocs]
        spec = volume.spec
        asked = ("CloneID", "SnapshotID", "RequestedCapacityMin", "RequestedCapacityMax", "RequestedTopologies")
        return {
            **self._common_json(volume),
            **{key: spec[key] for key in (*asked, "RequestedCapabilities")},
            "Allocations": [a.stub() for a in known] if allocations else [],
            "Capacity": volume.capacity,
            "Context": spec["Parameters"] or {},
            "MountOptions": volume.sanitized_options(),
            "Parameters": spec["Parameters"] or {},
            "ProviderVersion": "v1.17.0",
            "ReadAllocs": dict.fromkeys(volume.ids(True)),
            "Secrets": None,
            "WriteAllocs": dict.fromkeys(volume.ids(False)),
        }

    # -- dynamic host volumes

    def create_host(
        self, given: Json | None, namespace: str, allow: Callable[[str], None], meets: Any
    ) -> tuple[int, Json]:
        """HostVolume.Create: a new volume is placed on a node that has none of its name; with an ID it is updated."""
        if given is None:
            raise NomadError(500, "missing volume definition")
        want = {k: v for k, v in given.items() if v is not None}
        want["Namespace"] = want.get("Namespace") or namespace
        allow(want["Namespace"])
        old = self._checked_host(want)
        self._host_state(want)
        if old is None:
            node = self._place_host(want, meets)
            volume = self._new_host(want, node)
        else:
            volume = old
            row = old.row
            for key in ("RequestedCapacityMinBytes", "RequestedCapacityMaxBytes"):
                row[key] = int(want.get(key) or 0)
            row["RequestedCapabilities"] = want.get("RequestedCapabilities") or row["RequestedCapabilities"]
            row["ModifyTime"] = now_ns()
        row = volume.row
        row["ModifyIndex"] = self.store.apply("host_volumes")
        row["CreateIndex"] = row["CreateIndex"] or row["ModifyIndex"]
        # as it was before the state store saw it (measured)
        return self.store.index, {**row, "CreateIndex": 0, "ModifyIndex": 0, "State": "pending"}

    def _checked_host(self, want: Json) -> HostVolume | None:
        """Validate and ValidateUpdate; returns the volume to update."""
        errs = []
        ident = want.get("ID")
        least, most = want.get("RequestedCapacityMinBytes", 0), want.get("RequestedCapacityMaxBytes", 0)
        if ident and not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", ident):
            errs.append(f'invalid ID "{ident}"')
        if not want.get("Name"):
            errs.append("missing name")
        if most < least:
            errs.append(f"capacity_max ({most}) must be larger than capacity_min ({least})")
        for capability in want.get("RequestedCapabilities") or []:
            access, attach = capability.get("AccessMode") or "", capability.get("AttachmentMode") or ""
            if attach not in _ATTACH:
                errs.append(f'invalid attachment mode: "{attach}"')
            elif access not in _HOST_ACCESS:
                errs.append(f'invalid access mode: "{access}"')
        if errs:
            raise NomadError(500, "volume validation failed: " + (errs[0] if len(errs) == 1 else multierror(errs)))
        if want["Namespace"] not in self.store.namespaces:
            raise NomadError(500, f'volume validation failed: no such namespace "{want["Namespace"]}"')
        if not ident:
            return None
        old = self.host_volume(want["Namespace"], ident)
        if old is None:
            raise NomadError(500, f'cannot update volume "{ident}": volume does not exist')
        if users := ", ".join(a.id for a in self.host_users(old)):
            text = multierror([f"cannot update a volume in use: claimed by allocs ({users})"])
            raise NomadError(500, f'validating volume "{ident}" update failed: {text}')
        return old

    def _host_state(self, want: Json) -> None:
        head = f'validating volume "{want["Name"]}" against state failed: '
        node, pool = want.get("NodeID") or "", want.get("NodePool") or ""
        if node and node not in self.store.nodes:
            raise NomadError(500, f'{head}node "{node}" does not exist')
        if pool and pool not in self.store.pools:
            raise NomadError(500, f'{head}node pool "{pool}" does not exist')
        if node and pool and self.store.nodes[node].pool != pool:
            raise NomadError(500, f'{head}node ID "{node}" is not in pool "{pool}"')

    def _place_host(self, want: Json, meets: Any) -> Node:
        """placeHostVolume. Neither a node's status nor its eligibility counts (nomad/host_volume_endpoint.go)."""
        plugin = want.get("PluginID") or "default"
        constraints = [
            {"LTarget": f"${{attr.plugins.host_volume.{plugin}.version}}", "RTarget": "", "Operand": "is_set"}
        ]
        constraints += [{"LTarget": "", "RTarget": "", **c} for c in want.get("Constraints") or []]
        head = f'could not place volume "{want["Name"]}": '
        if chosen := self.store.nodes.get(want.get("NodeID") or ""):
            if not all(meets(c, chosen) for c in constraints):
                raise NomadError(500, f"{head}node {chosen.id} is not feasible for volume")
            if self._named(chosen, want["Name"]):
                raise NomadError(500, "HostVolume.Create error: volume name already exists on this node")
            return chosen
        taken = infeasible = 0
        for node in self.store.nodes.values():
            if want.get("NodePool") not in (None, "", node.pool):
                continue
            if self._named(node, want["Name"]):
                taken += 1
            elif not all(meets(c, node) for c in constraints):
                infeasible += 1
            else:
                return node
        raise NomadError(
            500,
            f"{head}no node meets constraints: {taken} nodes had existing volume, 0 nodes filtered by node pool "
            f"governance, {infeasible} nodes were infeasible",
        )

    def _named(self, node: Node, name: str) -> bool:
        return any(v.row["NodeID"] == node.id and v.row["Name"] == name for v in self.host.values())

    def _new_host(self, want: Json, node: Node) -> HostVolume:
        """The client's part: the built-in plugin makes a directory named after the volume's ID."""
        if node.status != "ready":
            raise NomadError(500, "No path to node")
        parameters = want.get("Parameters") or {}
        for key in parameters:
            if want["PluginID"] == "mkdir" and key not in ("mode", "uid", "gid"):
                text = f'invalid value for "{key}": unknown mkdir parameter: "{key}"'
                raise NomadError(500, f"HostVolume.Create error: {text}")
        ident = self.store.uuid()
        path = self.client_root / node.name / "host_volumes" / ident
        path.mkdir(parents=True)
        path.chmod(int(parameters.get("mode", "0700"), 8))
        row = {
            "CapacityBytes": 0,
            "CreateIndex": 0,
            "CreateTime": now_ns(),
            "HostPath": str(path),
            "ID": ident,
            "ModifyIndex": 0,
            "ModifyTime": now_ns(),
            "Name": want["Name"],
            "Namespace": want["Namespace"],
            "NodeID": node.id,
            "NodePool": node.pool,
            "PluginID": want["PluginID"],
            "RequestedCapabilities": want.get("RequestedCapabilities")
            or [{"AccessMode": "single-node-writer", "AttachmentMode": "file-system"}],
            "RequestedCapacityMaxBytes": int(want.get("RequestedCapacityMaxBytes") or 0),
            "RequestedCapacityMinBytes": int(want.get("RequestedCapacityMinBytes") or 0),
            "State": "pending",
        }
        self.host[ident] = HostVolume(row, path, dict(parameters))
        asyncio.get_running_loop().call_later(self.ready_delay, self._ready, ident)
        return self.host[ident]

    def _ready(self, ident: str) -> None:
        """The node's fingerprint has arrived."""
        volume = self.host.get(ident)
        if volume is None:
            return
        volume.row["State"] = "ready"
        volume.row["ModifyIndex"] = self.store.apply("host_volumes", "nodes")
        self.on_ready()

    def host_volume(self, namespace: str, ident: str) -> HostVolume | None:
        volume = self.host.get(ident)
        return volume if volume is not None and volume.row["Namespace"] == namespace else None

    def host_users(self, volume: HostVolume) -> list[Alloc]:
        """Allocations of the node that name the volume and that the client has not ended; any namespace (measured)."""
        return [
            a
            for a in self.store.allocs.values()
            if a.node.id == volume.row["NodeID"]
            and not a.client_terminal
            and any(
                r["Type"] == "host" and r["Source"] == volume.row["Name"]
                for r in (a.task_group["Volumes"] or {}).values()
            )
        ]

    def host_json(self, volume: HostVolume) -> Json:
        users = [a.stub() for a in self.host_users(volume)]
        extra: Json = {"Allocations": users} if users else {}
        if volume.parameters:
            extra["Parameters"] = volume.parameters
        return {**volume.row, **extra}

    @staticmethod
    def host_stub(volume: HostVolume) -> Json:
        left = ("HostPath", "RequestedCapabilities", "RequestedCapacityMaxBytes", "RequestedCapacityMinBytes")
        return {k: v for k, v in volume.row.items() if k not in left}

    def delete_host(self, namespace: str, ident: str, force: bool) -> int:
        volume = self.host_volume(namespace, ident)
        if volume is None:
            raise NomadError(500, f"no such volume: {ident}")
        if users := self.host_users(volume):
            raise NomadError(500, f"volume {ident} in use by allocations: [{' '.join(a.id for a in users)}]")
        node = self.store.nodes.get(volume.row["NodeID"])
        if node is None or node.status != "ready":
            if not force:
                raise NomadError(500, "volume cannot be removed from unknown node without force=true")
        else:
            shutil.rmtree(volume.path, ignore_errors=True)
        del self.host[ident]
        return self.store.apply("host_volumes", "nodes")

    # -- the scheduler's checks

    def missing(self, job: Json, group: Json) -> list[str]:
        """CSI volumes that the group names and that are not registered."""
        wanted = [r["Source"] for r in (group["Volumes"] or {}).values() if r["Type"] == "csi"]
        return [w for w in wanted if (job["Namespace"], w) not in self.csi]

    def infeasible(self, node: Node, job: Json, group: Json, evicting: set[str]) -> str:
        """Why the group's volumes keep it from the node, in the words of ConstraintFiltered; host volumes come first."""
        requests = list((group["Volumes"] or {}).values())
        if any(r["Type"] == "host" and not self._host_fits(node, job, r, evicting) for r in requests):
            return "missing compatible host volumes"
        if missing := self.missing(job, group):
            return f"missing CSI volume(s) {', '.join(missing)}"
        for request in requests:
            if request["Type"] == "csi" and (reason := self._csi_unfit(node, job, request)):
                return reason
        return ""

    def _host_fits(self, node: Node, job: Json, request: Json, evicting: set[str]) -> bool:
        for volume in self.host.values():
            row = volume.row
            if (row["NodeID"], row["Name"], row["Namespace"]) == (node.id, request["Source"], job["Namespace"]):
                break
        else:
            return False
        read_only = request["ReadOnly"]
        access = request["AccessMode"] or ("single-node-reader-only" if read_only else "single-node-writer")
        attach = request["AttachmentMode"] or "file-system"
        if (
            row["State"] != "ready"
            or {"AccessMode": access, "AttachmentMode": attach} not in row["RequestedCapabilities"]
        ):
            return False
        if access == "single-node-single-writer":
            return all(a.terminal or a.id in evicting for a in self.host_users(volume))
        return access != "single-node-writer" or not read_only

    def _csi_unfit(self, node: Node, job: Json, request: Json) -> str:
        volume = self.csi[(job["Namespace"], request["Source"])]
        plugin = self.plugins.get(volume.plugin)
        if plugin is None or not plugin.runs_on(node):
            return f"CSI plugin {volume.plugin} is missing from client {node.id}"
        if not plugin.healthy_on(node):
            return f"CSI plugin {volume.plugin} is unhealthy on client {node.id}"
        if (segments := self._segments(volume)) and segments.get(_TOPOLOGY) != node.name:
            return "did not meet topology requirement"
        schedulable = self._common_json(volume)["Schedulable"]
        if request["ReadOnly"]:
            text = f"CSI volume {volume.id} is unschedulable or has exhausted its available reader claims"
            return "" if schedulable else text
        if not schedulable or not volume.may_write():
            return f"CSI volume {volume.id} is unschedulable or is read-only"
        if not volume.free_writes():
            for claimant in volume.ids(False):
                alloc = self.store.allocs.get(claimant)
                used = f"CSI volume {volume.id} has exhausted its available writer claims"
                if alloc is None:
                    waiting = "waiting for claim to be released"
                    return f"{used} and is claimed by a garbage collected allocation {claimant}; {waiting}"
                if (alloc.job["Namespace"], alloc.job["ID"]) != (job["Namespace"], job["ID"]):
                    return used  # a claim of the job's own does not keep it back: the client waits for it
        return ""

    # -- claims and mounts, the clients' side

    def claim(self, alloc: Alloc, request: Json) -> None:
        """CSIVolume.Claim, then the plugin's node part."""
        ident = request["Source"]
        volume = self.csi.get((alloc.job["Namespace"], ident))
        head = f"claiming volumes: could not claim volume {ident}: rpc error: "
        if volume is None:
            raise ClaimError(f"{head}volume not found: {ident}")
        if alloc.id not in volume.claims:
            if not self._common_json(volume)["Schedulable"]:
                raise ClaimError(f"{head}volume is currently unschedulable")
            if not (volume.free_reads() if request["ReadOnly"] else volume.free_writes()):
                raise ClaimBusy
            volume.claims[alloc.id] = Claim(alloc.id, alloc.node.id, request["ReadOnly"])
            volume.access_mode = volume.access_mode or request["AccessMode"]
            volume.attachment_mode = volume.attachment_mode or request["AttachmentMode"]
            volume.modify_index = self.store.apply("csi_volumes")
        if volume.external_id not in self.backings:
            raise ClaimError(f"mounting volumes: {self._lost(volume)}")

    def release(self, alloc_id: str) -> None:
        """The claims of an allocation go; with the last one the volume's modes do."""
        for volume in self.csi.values():
            if volume.claims.pop(alloc_id, None) is not None:
                if not volume.claims:
                    volume.access_mode = volume.attachment_mode = ""
                volume.modify_index = self.store.apply("csi_volumes")

    def source(self, alloc: Alloc, request: Json) -> Path | None:
        """The directory that a mount of the request shows."""
        if request["Type"] == "csi":
            volume = self.csi.get((alloc.job["Namespace"], request["Source"]))
            return self.root / volume.external_id if volume is not None else None
        for found in self.host.values():
            row = found.row
            if (row["NodeID"], row["Name"], row["Namespace"]) == (
                alloc.node.id,
                request["Source"],
                alloc.job["Namespace"],
            ):
                return found.path
        return None

    def find(self, key: str, namespace: str) -> Json | None:
        if (namespace, key) in self.csi:
            return self.csi_json(self.csi[(namespace, key)])
        for volume in self.host.values():
            if volume.row["Namespace"] == namespace and key in (volume.row["ID"], volume.row["Name"]):
                return self.host_json(volume)
        return None

    def directories(self) -> list[Path]:
        """All that is held, for tests that look for leaks."""
        return sorted([*self.root.glob("*"), *self.client_root.glob("*/host_volumes/*")])

    def directory(self, key: str, namespace: str = "default") -> Path:
        """Of a CSI volume by id, of a host volume by id or name; a deleted volume's is gone."""
        if (namespace, key) in self.csi:
            return self.root / self.csi[(namespace, key)].external_id
        for volume in self.host.values():
            if volume.row["Namespace"] == namespace and key in (volume.row["ID"], volume.row["Name"]):
                return volume.path
        raise KeyError(f"volume {key}")


class Mounts:
    """A task's volume mounts as symbolic links, for destinations where that does no harm; the others are only recorded."""

    def __init__(self) -> None:
        self._links: list[tuple[Path, Path | None]] = []
        self._made: list[Path] = []

    def add(self, source: Path, destination: Path) -> None:
        """Put the volume at the destination; what was there is hidden until `clear`, as a mount hides it."""
        hidden = None
        if destination.is_symlink():
            destination.unlink()
        elif destination.exists():
            hidden = destination.with_name(f".{destination.name}.below-a-mount")
            destination.rename(hidden)
        for parent in reversed([p for p in destination.parents if not p.exists()]):
            parent.mkdir()
            self._made.append(parent)
        destination.symlink_to(source)
        self._links.append((destination, hidden))

    def clear(self) -> None:
        while self._links:
            link, hidden = self._links.pop()
            if link.is_symlink():
                link.unlink()
            if hidden is not None and not link.exists():
                hidden.rename(link)
        # a container's mount points are not the host's: what was made for them goes, unless something else is in there now
        while self._made:
            parent = self._made.pop()
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
