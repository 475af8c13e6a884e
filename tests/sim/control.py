"""The control API under /_sim/: the Sim class's methods over HTTP, JSON in and out, for use from other programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .faults import ExecFault, Rule, from_json, to_json

if TYPE_CHECKING:
    from .server import Cluster

Json = dict[str, Any]


class Control:
    """POST /_sim/<verb> with a JSON object; GET for the lists; DELETE to clear."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def handle(self, request: web.Request) -> web.Response:
        verb = request.match_info["path"].strip("/")
        try:
            given = json.loads(await request.read() or b"{}")
            if not isinstance(given, dict):
                raise ValueError("the body must be an object")
            return web.json_response(self._call(request.method, verb, given))
        except KeyError as exc:
            return web.json_response({"error": f"unknown or missing: {exc.args[0]}"}, status=404)
        except (ValueError, TypeError) as exc:
            return web.json_response({"error": str(exc)}, status=400)

    def _call(self, method: str, verb: str, given: Json) -> Any:
        cluster = self.cluster
        if method == "GET":
            return self._get(verb)
        if method == "DELETE":
            if verb == "requests":
                cluster.faults.requests.clear()
            elif verb == "faults":
                cluster.faults.clear()
            else:
                raise KeyError(verb)
            return {}
        simple: dict[str, Any] = {
            "rule": lambda: {"id": cluster.faults.add_rule(from_json(Rule, given))},
            "exec-fault": lambda: {"id": cluster.faults.add_exec(from_json(ExecFault, given))},
            "node": lambda: {"id": cluster.add_node(**given).id},
            "node-state": lambda: cluster.set_node(given.pop("node", ""), **given),
            "hog": lambda: {"id": cluster.hog(given.pop("node", ""), **given)},
            "unhog": lambda: cluster.unhog(given["id"]),
            "container": lambda: {"id": cluster.docker(given.pop("node", "")).add(**given)},
            "network": lambda: {"id": cluster.docker(given.pop("node", "")).add_network(**given)},
            "docker-volume": lambda: {"name": cluster.docker(given.pop("node", "")).add_volume(**given)},
            "gc": lambda: cluster.gc(),
            "plugin": lambda: self._plugin(given),
            "plugin-remove": lambda: cluster.volumes.remove_plugin(given.get("id", "ceph-csi")),
            "volume-lose": lambda: cluster.volumes.lose_backing(given["id"], given.get("namespace", "default")),
            "preempt": lambda: cluster.preempt(given["alloc"], given.get("by", "")),
            "oom": lambda: cluster.task(given["alloc"], given.get("task", "machine")).oom_kill(),
            "restart": lambda: cluster.task(given["alloc"], given.get("task", "machine")).restart(),
            "signal": lambda: cluster.task(given["alloc"], given.get("task", "machine")).signal(
                int(given.get("signal", 15))
            ),
            "client": lambda: self._client(given),
            "token": lambda: self._token(given),
            "acl": lambda: setattr(cluster.acl, "enabled", bool(given["enabled"])),
            "namespace": lambda: cluster.store.namespaces.update({given["name"]: ""}),
            "pool": lambda: cluster.store.pools.add(given["name"]),
        }
        return simple[verb]() or {}

    def _get(self, verb: str) -> Any:
        cluster = self.cluster
        if verb == "requests":
            return [to_json(r) for r in cluster.faults.requests]
        if verb == "faults":
            return {
                "rules": [to_json(r) for r in cluster.faults.rules],
                "exec": [to_json(f) for f in cluster.faults.exec_faults],
            }
        if verb == "nodes":
            return [
                {"id": n.id, "name": n.name, "status": n.status, "docker": str(cluster.docker(n.id).path)}
                for n in cluster.store.nodes.values()
            ]
        if verb == "containers":
            return {
                n.name: [c.summary() for c in cluster.docker(n.id).containers.values()]
                for n in cluster.store.nodes.values()
            }
        if verb == "volumes":
            rows = [cluster.volumes.csi_json(v) for v in cluster.volumes.csi.values()]
            return rows + [cluster.volumes.host_json(v) for v in cluster.volumes.host.values()]
        if verb == "stand-ins":
            return cluster.stand_in_calls()
        raise KeyError(verb)

    def _client(self, given: Json) -> Json:
        config = self.cluster.clients.config
        for key, value in given.items():
            if not hasattr(config, key):
                raise KeyError(key)
            setattr(config, key, set(value) if key == "local_images" else value)
        return {}

    def _plugin(self, given: Json) -> Json:
        self.cluster.volumes.add_plugin(given.pop("id", "ceph-csi"), **given)
        return {}

    def _token(self, given: Json) -> Json:
        token = self.cluster.acl.add(given.pop("secret", ""), **given)
        return {"secret": token.secret, "accessor": token.accessor, "policy": token.policy_name}
