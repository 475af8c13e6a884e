"""A small Docker Engine API on a unix socket, one per simulated node.

Tasks see it as DOCKER_HOST; the calls are those that a clean-up script needs. Error texts are dockerd's.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

Json = dict[str, Any]


@dataclass
class Container:
    """One entry of `docker ps -a`."""

    id: str
    name: str
    image: str
    command: str
    labels: dict[str, str]
    mounts: list[Json]
    state: str = "running"
    created: int = field(default_factory=lambda: int(time.time()))
    on_stop: Callable[[], None] | None = None

    def summary(self) -> Json:
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "Image": self.image,
            "ImageID": f"sha256:{self.id}",
            "Command": self.command,
            "Created": self.created,
            "Ports": [],
            "Labels": self.labels,
            "State": self.state,
            "Status": "Up 1 second" if self.state == "running" else "Exited (0) 1 second ago",
            "HostConfig": {"NetworkMode": "default"},
            "NetworkSettings": {"Networks": {}},
            "Mounts": self.mounts,
        }

    def inspect(self) -> Json:
        running = self.state == "running"
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Image": f"sha256:{self.id}",
            "Created": "2026-01-01T00:00:00Z",
            "State": {"Status": self.state, "Running": running, "Paused": False, "ExitCode": 0, "Pid": int(running)},
            "Config": {"Image": self.image, "Labels": self.labels},
            "Mounts": self.mounts,
            "NetworkSettings": {"Networks": {}},
        }


class FakeDocker:
    """Containers, networks and volumes of one node, with a record of the calls."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.containers: dict[str, Container] = {}
        self.networks: dict[str, Json] = {}
        self.volumes: dict[str, Json] = {}
        self.calls: list[tuple[str, str]] = []
        self._rng = random.Random(seed)
        self._runner: web.AppRunner | None = None
        self.add_network("bridge")

    def hex_id(self) -> str:
        return f"{self._rng.getrandbits(256):064x}"

    # -- entries

    def add(
        self,
        *,
        name: str = "",
        image: str = "ubuntu:22.04",
        mounts: Iterable[Json] = (),
        labels: dict[str, str] | None = None,
        state: str = "running",
        command: str = "sleep infinity",
        on_stop: Callable[[], None] | None = None,
    ) -> str:
        """Add a container; a mount needs Source and Destination, the rest has docker's defaults."""
        ident = self.hex_id()
        full = [{"Type": "bind", "Mode": "", "RW": True, "Propagation": "rprivate", **m} for m in mounts]
        self.containers[ident] = Container(
            ident, name or f"sim_{ident[:8]}", image, command, dict(labels or {}), full, state, on_stop=on_stop
        )
        return ident

    def add_network(self, name: str, labels: dict[str, str] | None = None) -> str:
        ident = self.hex_id()
        self.networks[ident] = {
            "Id": ident,
            "Name": name,
            "Driver": "bridge",
            "Scope": "local",
            "Labels": labels or {},
            "Containers": {},
            "Created": "2026-01-01T00:00:00Z",
        }
        return ident

    def forget(self, ident: str) -> None:
        """A task's container is removed when the task ends (the driver's gc)."""
        self.containers.pop(ident, None)

    def find(self, key: str) -> Container | None:
        """By name, id or unique id prefix, as dockerd looks it up."""
        exact = [c for c in self.containers.values() if key in (c.id, c.name)]
        hits = exact or [c for c in self.containers.values() if len(key) >= 4 and c.id.startswith(key)]
        return hits[0] if len(hits) == 1 else None

    # -- serving

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.path)).start()
        self.path.chmod(0o666)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        path = re.sub(r"^/v1\.\d+(?=/)", "", request.path)
        self.calls.append((request.method, request.path_qs))
        parts = path.strip("/").split("/")
        headers = {"Api-Version": "1.41", "Server": "Docker/20.10.24 (linux)", "Ostype": "linux"}
        code, body = self._route(request.method, parts, request.query)
        if isinstance(body, str):
            return web.Response(status=code, text=body, headers=headers)
        if body is None:
            return web.Response(status=code, headers=headers)
        text = json.dumps(body, separators=(",", ":")) + "\n"  # dockerd puts no blanks in
        return web.Response(status=code, text=text, content_type="application/json", headers=headers)

    def _route(self, method: str, parts: list[str], query: Any) -> tuple[int, Any]:
        if parts == ["_ping"]:
            return 200, "OK"
        if parts == ["version"]:
            return 200, {
                "Version": "20.10.24",
                "ApiVersion": "1.41",
                "MinAPIVersion": "1.12",
                "Os": "linux",
                "Arch": "amd64",
            }
        if parts == ["info"]:
            return 200, {"ServerVersion": "20.10.24", "Containers": len(self.containers), "OSType": "linux"}
        if parts == ["containers", "json"]:
            return 200, [c.summary() for c in self._filtered(query)]
        if parts[0] == "containers" and len(parts) in (2, 3):
            return self._container(method, parts[1], parts[2] if len(parts) == 3 else "", query)
        if parts[0] in ("networks", "volumes"):
            return self._other(method, parts)
        return 404, {"message": "page not found"}

    def _filtered(self, query: Any) -> list[Container]:
        found = [
            c for c in self.containers.values() if query.get("all") in ("1", "true", "True") or c.state == "running"
        ]
        filters = json.loads(query.get("filters") or "{}")
        for key, wanted in filters.items():
            values = list(wanted)  # a list, or the older {"value": true}
            if key == "label":
                found = [
                    c
                    for c in found
                    if all(
                        c.labels.get(v.partition("=")[0]) == v.partition("=")[2] if "=" in v else v in c.labels
                        for v in values
                    )
                ]
            elif key == "name":
                found = [c for c in found if any(re.search(v, f"/{c.name}") for v in values)]
            elif key == "id":
                found = [c for c in found if any(c.id.startswith(v) for v in values)]
            elif key == "status":
                found = [c for c in found if c.state in values]
            elif key == "volume":
                found = [
                    c
                    for c in found
                    if any(
                        v in (m.get("Source"), m.get("Destination"), m.get("Name")) for m in c.mounts for v in values
                    )
                ]
        return found

    def _container(self, method: str, key: str, action: str, query: Any) -> tuple[int, Any]:
        box = self.find(key)
        if box is None:
            return 404, {"message": f"No such container: {key}"}
        if method == "GET" and action == "json":
            return 200, box.inspect()
        if method == "POST" and action in ("stop", "kill"):
            if box.state != "running":
                if action == "stop":
                    return 304, None
                return 409, {"message": f"Cannot kill container: {key}: Container {box.id} is not running"}
            box.state = "exited"
            if box.on_stop is not None:
                box.on_stop()
            return 204, None
        if method == "POST" and action == "start":
            code = 304 if box.state == "running" else 204
            box.state = "running"
            return code, None
        if method == "DELETE" and not action:
            if box.state == "running" and query.get("force") not in ("1", "true", "True"):
                return 409, {
                    "message": f"You cannot remove a running container {box.id}. Stop the container before "
                    "attempting removal or force remove"
                }
            del self.containers[box.id]
            if box.on_stop is not None:
                box.on_stop()
            if query.get("v") in ("1", "true", "True"):
                for mount in box.mounts:
                    self.volumes.pop(mount.get("Name", ""), None)
            return 204, None
        return 404, {"message": "page not found"}

    def _other(self, method: str, parts: list[str]) -> tuple[int, Any]:
        kind = parts[0]
        if len(parts) == 1 and method == "GET":
            if kind == "networks":
                return 200, list(self.networks.values())
            return 200, {"Volumes": list(self.volumes.values()), "Warnings": None}
        key = parts[1] if len(parts) > 1 else ""
        if kind == "volumes":
            if key not in self.volumes:
                return 404, {"message": f"get {key}: no such volume"}
            if method == "DELETE":
                del self.volumes[key]
                return 204, None
            return 200, self.volumes[key]
        hits = [n for n in self.networks.values() if key in (n["Id"], n["Name"]) or n["Id"].startswith(key or "?")]
        if not hits:
            return 404, {"message": f"network {key} not found"}
        if method == "DELETE":
            if hits[0]["Name"] == "bridge":
                return 403, {"message": "bridge is a pre-defined network and cannot be removed"}
            del self.networks[hits[0]["Id"]]
            return 204, None
        return 200, hits[0]
