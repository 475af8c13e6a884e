"""Placement: feasibility, bin packing by capacity, reconciliation, blocked evaluations and the plan call.

Follows the order of nomad/scheduler (job constraints, drivers, group constraints, resources) because that order decides
what the metrics of a failed placement say; names of filters and dimensions were measured.
"""

from __future__ import annotations

import asyncio
import copy
import fnmatch
import json
import re
from collections.abc import Callable
from typing import Any

from .state import Alloc, Json, Node, Store, group_resources, now_ns, omit_empty, spec_changed
from .volumes import Volumes

_LEFT_ALONE = ("Priority", "Constraints", "Datacenters", "NodePool")


def resolve_target(target: str, node: Node) -> str | None:
    """resolveTarget (scheduler/feasible): a literal, or a value of the node, None when it has none."""
    if not target.startswith("${"):
        return target
    name = target[2:].rstrip("}")
    plain = {
        "node.unique.id": node.id,
        "node.datacenter": node.datacenter,
        "node.unique.name": node.name,
        "node.class": node.node_class,
        "node.pool": node.pool,
    }
    if name in plain:
        return plain[name]
    if name.startswith("attr."):
        return node.all_attributes().get(name[5:])
    if name.startswith("meta."):
        return node.meta.get(name[5:])
    return None


def _version(text: str) -> tuple[list[int], bool] | None:
    found = re.fullmatch(r"v?(\d+(?:\.\d+)*)(-[0-9A-Za-z.~-]+)?(?:\+.*)?", text.strip())
    if not found:
        return None
    parts = [int(p) for p in found[1].split(".")]
    return parts + [0] * (3 - len(parts)), bool(found[2])


def _version_match(left: str, constraints: str) -> bool:
    """go-version constraints: a comma list of =, !=, >, <, >=, <=, ~>; a prerelease is below its release."""
    have = _version(left)
    if have is None:
        return False
    for part in constraints.split(","):
        found = re.fullmatch(r"\s*(=|!=|>=|<=|>|<|~>)?\s*(\S+)\s*", part)
        want = _version(found[2]) if found else None
        if not found or want is None:
            return False
        a = (have[0], not have[1])
        b = (want[0], not want[1])
        operator = found[1] or "="
        if operator == "~>":
            fixed = max(len(re.split(r"\.", found[2].split("-")[0])) - 1, 1)
            good = a >= b and have[0][:fixed] == want[0][:fixed]
        else:
            good = {"=": a == b, "!=": a != b, ">": a > b, "<": a < b, ">=": a >= b, "<=": a <= b}[operator]
        if not good:
            return False
    return True


def _ordered(operand: str, left: str, right: str) -> bool:
    """checkOrder: whole numbers, else floats, else text."""
    a: Any = left
    b: Any = right
    for kind in (int, float):
        try:
            a, b = kind(left), kind(right)
            break
        except ValueError:
            continue
    return bool({"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operand])


def _set(text: str) -> set[str]:
    return {part.strip() for part in text.split(",")}


def meets(constraint: Json, node: Node) -> bool:
    """checkConstraint for one node."""
    left, right = resolve_target(constraint["LTarget"], node), resolve_target(constraint["RTarget"], node)
    operand = constraint["Operand"]
    if operand in ("distinct_hosts", "distinct_property"):
        return True
    if operand in ("!=", "not"):
        return left != right
    if operand == "is_set":
        return left is not None
    if operand == "is_not_set":
        return left is None
    if left is None or right is None:
        return False
    if operand in ("=", "==", "is"):
        return left == right
    if operand in ("<", "<=", ">", ">="):
        return _ordered(operand, left, right)
    if operand in ("version", "semver"):
        return _version_match(left, right)
    if operand == "regexp":
        return re.search(right, left) is not None
    if operand in ("set_contains", "set_contains_all"):
        return _set(right) <= _set(left)
    return bool(_set(right) & _set(left)) if operand == "set_contains_any" else False


def _constraint_text(constraint: Json) -> str:
    return f"{constraint['LTarget']} {constraint['Operand']} {constraint['RTarget']}"


def _zero_updates() -> Json:
    return dict.fromkeys(
        (
            "Canary",
            "DestructiveUpdate",
            "Disconnect",
            "Ignore",
            "InPlaceUpdate",
            "Migrate",
            "Place",
            "Preemptions",
            "Reconnect",
            "RescheduleLater",
            "RescheduleNow",
            "Stop",
        ),
        0,
    )


class Scheduler:
    """Processes evaluations one after the other, in the loop's next step after they were made."""

    def __init__(self, store: Store, volumes: Volumes, on_change: Callable[[Alloc], None]) -> None:
        self.store = store
        self.volumes = volumes
        self.on_change = on_change
        self._evicting: set[str] = set()
        self._classes: dict[str, bool] = {}

    # -- evaluations

    def new_eval(
        self,
        namespace: str,
        job_id: str,
        trigger: str,
        *,
        kind: str = "batch",
        priority: int = 50,
        job_index: int = 0,
        index: int | None = None,
    ) -> Json:
        """Store a pending evaluation and have it processed soon."""
        now = now_ns()
        at = index if index is not None else self.store.apply("evals")
        self.store.tables["evals"] = at
        ev: Json = {
            "ID": self.store.uuid(),
            "Namespace": namespace,
            "Priority": priority,
            "Type": kind,
            "TriggeredBy": trigger,
            "JobID": job_id,
            "JobModifyIndex": job_index,
            "Status": "pending",
            "CreateIndex": at,
            "ModifyIndex": at,
            "CreateTime": now,
            "ModifyTime": now,
        }
        self.store.evals[ev["ID"]] = ev
        self.store.refresh_status(namespace, job_id, at)
        asyncio.get_running_loop().call_soon(self._process, ev)
        return ev

    def _finish(self, ev: Json, status: str, text: str = "") -> int:
        index = self.store.apply("evals")
        ev.update(Status=status, StatusDescription=text, ModifyIndex=index, ModifyTime=now_ns())
        self.store.refresh_status(ev["Namespace"], ev["JobID"], index)
        return index

    def _process(self, ev: Json) -> None:
        store = self.store
        if ev["ID"] not in store.evals or ev["Status"] not in ("pending", "blocked"):
            return
        was_blocked = ev["Status"] == "blocked"
        ev["SnapshotIndex"] = store.index
        job = store.job(ev["Namespace"], ev["JobID"])
        updates, failed, queued = self._reconcile(ev, job)
        if was_blocked and failed:
            return
        annotations = {"DesiredTGUpdates": updates, "PreemptedAllocs": None} if updates else None
        if failed:
            index = store.apply("evals")
            blocked = self._blocked(ev, failed, index)
            store.evals[blocked["ID"]] = blocked
            ev["BlockedEval"] = blocked["ID"]
        ev["FailedTGAllocs"] = failed or None
        ev["QueuedAllocations"] = queued or None
        ev["PlanAnnotations"] = annotations
        self._finish(ev, "complete")
        for other in store.evals_of(ev["Namespace"], ev["JobID"]):
            if other is ev or other["Status"] != "blocked" or other["ID"] == ev.get("BlockedEval"):
                continue
            text = f'evaluation "{ev["ID"]}" successful'
            if failed:
                text = f"existing blocked evaluation exists for job {json.dumps(ev['JobID'])}"
            self._finish(other, "canceled", text)

    def _blocked(self, ev: Json, failed: Json, index: int) -> Json:
        now = now_ns()
        job = self.store.job(ev["Namespace"], ev["JobID"])
        return {
            "ID": self.store.uuid(),
            "Namespace": ev["Namespace"],
            "Priority": ev["Priority"],
            "Type": ev["Type"],
            "TriggeredBy": "queued-allocs",
            "JobID": ev["JobID"],
            "JobModifyIndex": ev["JobModifyIndex"],
            "Status": "blocked",
            "StatusDescription": "created to place remaining allocations",
            "PreviousEval": ev["ID"],
            "FailedTGAllocs": failed,
            "CreateIndex": index,
            "ModifyIndex": index,
            "SnapshotIndex": index - 1,
            "CreateTime": now,
            "ModifyTime": now,
            "EscapedComputedClass": bool(job and _escaped(job)),
            "ClassEligibility": None if job and _escaped(job) else dict(self._classes),
            "MissingNonNodeResources": self._missing(job),
        }

    def _missing(self, job: Json | None) -> list[str]:
        if job is None:
            return []
        missing = [name for group in job["TaskGroups"] for name in self.volumes.missing(job, group)]
        return [f"csi-volume:{job['Namespace']}:{name}" for name in missing]

    def unblock(self) -> None:
        """Something became free or a node changed: try the blocked evaluations again."""
        loop = asyncio.get_running_loop()
        for ev in self.store.evals.values():
            if ev["Status"] == "blocked":
                loop.call_soon(self._process, ev)

    # -- reconciliation

    def stop_alloc(self, alloc: Alloc, text: str, client: str = "") -> None:
        index = self.store.apply("allocs")
        alloc.desired, alloc.desired_description = "stop", text
        if client:
            alloc.client = client
            alloc.client_description = ""
        alloc.modify_index = alloc.alloc_modify_index = index
        alloc.modify_ns = now_ns()
        if client == "lost":
            self.volumes.release(alloc.id)  # the servers free the claims of a node that is down (nomad/csi_endpoint.go)
        self.store.refresh_status(alloc.job["Namespace"], alloc.job["ID"], index)
        self.on_change(alloc)

    def _reconcile(self, ev: Json, job: Json | None) -> tuple[Json, Json, Json]:
        """Stops, replaces and places; returns DesiredTGUpdates, FailedTGAllocs and QueuedAllocations."""
        updates: Json = {}
        failed: Json = {}
        queued: Json = {}
        existing = self.store.allocs_of(ev["Namespace"], ev["JobID"])
        if job is None or job["Stop"]:
            for alloc in existing:
                if not alloc.terminal:
                    self.stop_alloc(alloc, "alloc not needed due to job update")
            return updates, failed, queued
        for group in job["TaskGroups"]:
            row = updates[group["Name"]] = _zero_updates()
            kept, replaced = self._keep(job, group, [a for a in existing if a.group == group["Name"]], row)
            need = group["Count"] - kept
            self._evicting = {a.id for a in replaced}
            row["Place"] = max(need - row["DestructiveUpdate"] - row["Migrate"], 0)
            queued[group["Name"]] = 0
            for number in range(need):
                before = replaced[number] if number < len(replaced) else None
                node, metrics, cores = self.select(job, group)
                if node is None:
                    if group["Name"] in failed:
                        failed[group["Name"]]["CoalescedFailures"] += 1
                    else:
                        failed[group["Name"]] = metrics
                    queued[group["Name"]] += 1
                else:
                    if before is not None and before.desired == "run":
                        self.stop_alloc(before, "alloc is being updated due to job update")
                    self._place(ev, job, group, node, metrics, cores, before)
            self._evicting = set()
        return updates, failed, queued

    def _keep(self, job: Json, group: Json, allocs: list[Alloc], row: Json) -> tuple[int, list[Alloc]]:
        """How many allocations count towards the group, and which are to be replaced."""
        kept, replaced = 0, []
        for alloc in sorted(allocs, key=lambda a: a.create_index):
            current = alloc.job["Version"] == job["Version"] and alloc.job["CreateIndex"] == job["CreateIndex"]
            if alloc.desired != "run":
                if current and alloc.transition["MigrateDisablePlacement"]:
                    kept += 1  # a drained batch allocation counts as one that has run (scheduler/reconciler/filters.go)
                continue
            if alloc.client_terminal:
                # complete and failed ones of this version stay: "the same spec does not start again" (measured)
                if current and alloc.client != "lost":
                    kept += 1
                    row["Ignore"] += 1
                continue
            if alloc.node.status == "down":
                self.stop_alloc(alloc, "alloc is lost since its node is down", "lost")
                replaced.append(alloc)
            elif alloc.node.status == "disconnected" and alloc.client == "unknown":
                kept += 1
            elif alloc.transition["Migrate"]:
                self.stop_alloc(alloc, "alloc is being migrated")
                if alloc.transition["MigrateDisablePlacement"]:
                    kept += 1
                    continue
                replaced.append(alloc)
                row["Migrate"] += 1
            elif kept >= group["Count"]:
                self.stop_alloc(alloc, "alloc not needed due to job update")
                row["Stop"] += 1
            elif current:
                kept += 1
                row["Ignore"] += 1
            elif self._in_place(alloc, job):
                alloc.job = copy.deepcopy(job)
                alloc.alloc_modify_index = alloc.modify_index = self.store.apply("allocs")
                kept += 1
                row["InPlaceUpdate"] += 1
            else:
                # it runs on where its replacement cannot be placed (measured)
                replaced.append(alloc)
                row["DestructiveUpdate"] += 1
        return kept, replaced

    @staticmethod
    def _in_place(alloc: Alloc, job: Json) -> bool:
        """tasksUpdated in short: only what no task sees may change without a new allocation."""
        if any(not meets(c, alloc.node) for c in _all_constraints(job, alloc.task_group)):
            return False
        same = {key: job[key] for key in _LEFT_ALONE}
        return not spec_changed({**alloc.job, **same}, job)

    def _place(
        self, ev: Json, job: Json, group: Json, node: Node, metrics: Json, cores: list[int], before: Alloc | None
    ) -> None:
        store = self.store
        index = store.apply("allocs")
        alloc = Alloc(
            id=store.uuid(),
            eval_id=ev["ID"],
            job=copy.deepcopy(job),
            group=group["Name"],
            node=node,
            metrics=metrics,
            name=f"{job['ID']}.{group['Name']}[0]",
            cores=cores,
            create_index=index,
            modify_index=index,
            alloc_modify_index=index,
        )
        if before is not None:
            alloc.previous = before.id
            before.next = alloc.id
            before.modify_index = index
        store.allocs[alloc.id] = alloc
        store.refresh_status(job["Namespace"], job["ID"], index)
        self.on_change(alloc)

    # -- selection

    def used(self, node: Node) -> tuple[int, set[int], int, int]:
        """CPU, core numbers, memory and disk in use; an allocation counts until its client calls it terminal."""
        cpu = sum(h.get("cpu", 0) for h in node.hogs.values())
        memory = sum(h.get("memory", 0) for h in node.hogs.values())
        disk = sum(h.get("disk", 0) for h in node.hogs.values())
        taken = sum(h.get("cores", 0) for h in node.hogs.values())
        cores = set(range(taken))
        for alloc in self.store.allocs.values():
            if alloc.node is node and not alloc.client_terminal and alloc.id not in self._evicting:
                a_cpu, _, a_memory, a_disk = alloc.comparable()
                cpu += a_cpu + len(alloc.cores) * (node.cpu // max(node.cores, 1))
                memory += a_memory
                disk += a_disk
                cores |= set(alloc.cores)
        return cpu, cores, memory, disk

    def select(self, job: Json, group: Json) -> tuple[Node | None, Json, list[int]]:
        """One placement: the chosen node (or None), its AllocMetric and the reserved cores."""
        available: dict[str, int] = {}
        nodes = []
        for node in self.store.nodes.values():
            if not node.ready or job["NodePool"] not in ("all", node.pool):
                continue
            if any(fnmatch.fnmatchcase(node.datacenter, dc) for dc in job["Datacenters"]):
                available[node.datacenter] = available.get(node.datacenter, 0) + 1
                nodes.append(node)
        metrics = _metrics(job, available, len(nodes))
        cpu, cores, memory, disk = group_resources(group)
        drivers = {t["Driver"] for t in group["Tasks"]}
        group_constraints = list(group["Constraints"] or [])
        for task in group["Tasks"]:
            group_constraints.extend(task["Constraints"] or [])
        escaped = _escaped(job)
        bad_classes: set[str] = set()
        self._classes = {}
        order = list(nodes)
        self.store.rng.shuffle(order)
        best: tuple[float, Node, list[int]] | None = None
        for node in order:
            metrics["NodesEvaluated"] += 1
            reason = ""
            if not escaped and node.computed_class() in bad_classes:
                reason = "computed class ineligible"
            else:
                wrong = next((c for c in job["Constraints"] or [] if not meets(c, node)), None)
                if wrong is None and not all(d == "docker" and node.docker_healthy for d in drivers):
                    reason = "missing drivers"
                elif wrong is None:
                    wrong = next((c for c in group_constraints if not meets(c, node)), None)
                if wrong is not None:
                    reason = _constraint_text(wrong)
            if reason:
                bad_classes.add(node.computed_class())
                self._classes.setdefault(node.computed_class(), False)
                _count(metrics, "NodesFiltered", "ClassFiltered", "ConstraintFiltered", node, reason)
                continue
            self._classes[node.computed_class()] = True
            if reason := self.volumes.infeasible(node, job, group, self._evicting):
                # volumes are looked at after the class was found eligible, and say nothing about it (measured)
                _count(metrics, "NodesFiltered", "ClassFiltered", "ConstraintFiltered", node, reason)
                continue
            dimension, picked, score = self._fit(node, cpu, cores, memory, disk)
            if dimension:
                _count(metrics, "NodesExhausted", "ClassExhausted", "DimensionExhausted", node, dimension)
                continue
            if best is None or score > best[0]:
                best = (score, node, picked)
        if best is None:
            if metrics["DimensionExhausted"]:
                metrics["ResourcesExhausted"] = _exhausted(group, metrics["DimensionExhausted"])
            return None, metrics, []
        metrics["ScoreMetaData"] = [
            {"NodeID": best[1].id, "NormScore": best[0], "Scores": {"binpack": best[0]}},
        ]
        return best[1], metrics, best[2]

    def _fit(self, node: Node, cpu: int, cores: int, memory: int, disk: int) -> tuple[str, list[int], float]:
        """AllocsFit: the first dimension that does not fit, in Nomad's order (cpu, cores, memory, disk)."""
        u_cpu, u_cores, u_memory, u_disk = self.used(node)
        free = [c for c in range(node.cores) if c not in u_cores]
        if cores > len(free):
            return "cores", [], 0.0
        cpu += cores * (node.cpu // max(node.cores, 1))
        for name, have, want in (
            ("cpu", node.cpu - u_cpu, cpu),
            ("memory", node.memory - u_memory, memory),
            ("disk", node.disk - u_disk, disk),
        ):
            if want > have:
                return name, [], 0.0
        score = (
            1
            - ((node.cpu - u_cpu - cpu) / max(node.cpu, 1) + (node.memory - u_memory - memory) / max(node.memory, 1))
            / 2
        )
        return "", free[:cores], round(score, 6)

    # -- plan

    def plan(self, job: Json) -> Json:
        """Job.Plan: what an evaluation would do, without doing it."""
        store = self.store
        old = store.job(job["Namespace"], job["ID"])
        changed = old is None or spec_changed(old, job)
        updates: Json = {}
        failed: Json = {}
        for group in job["TaskGroups"]:
            row = updates[group["Name"]] = _zero_updates()
            live = [a for a in store.allocs_of(job["Namespace"], job["ID"]) if a.group == group["Name"]]
            current = [a for a in live if not changed and a.desired == "run" and a.client != "lost"]
            row["Ignore"] = min(len(current), group["Count"])
            running = [a for a in live if not a.terminal] if changed else []
            row["DestructiveUpdate"] = len(running)
            row["Place"] = max(group["Count"] - len(current) - len(running), 0)
            if running or row["Place"]:
                self._evicting = {a.id for a in running}
                node, metrics, _ = self.select(job, group)
                self._evicting = set()
                if node is None:
                    failed[group["Name"]] = metrics
        created = None
        if failed:
            ev = {
                "ID": store.uuid(),
                "Namespace": job["Namespace"],
                "Priority": job["Priority"],
                "Type": job["Type"],
                "JobID": job["ID"],
                "JobModifyIndex": 0,
            }
            created = [omit_empty(self._blocked(ev, failed, 0) | {"SnapshotIndex": 0})]
        index = old["JobModifyIndex"] if old else 0
        return {
            "Annotations": {"DesiredTGUpdates": updates, "PreemptedAllocs": None},
            "CreatedEvals": created,
            "Diff": None,
            "FailedTGAllocs": failed or None,
            "Index": index,
            "JobModifyIndex": index,
            "NextPeriodicLaunch": None,
            "Warnings": "",
        }


def _all_constraints(job: Json, group: Json) -> list[Json]:
    out = list(job["Constraints"] or []) + list(group["Constraints"] or [])
    for task in group["Tasks"]:
        out.extend(task["Constraints"] or [])
    return out


def _escaped(job: Json) -> bool:
    """Constraints on unique values and CSI volumes "escape" the computed class: every node is looked at by itself."""
    return any(
        any("unique." in c["LTarget"] or "unique." in c["RTarget"] for c in _all_constraints(job, group))
        or any(r["Type"] == "csi" for r in (group["Volumes"] or {}).values())
        for group in job["TaskGroups"] or []
    )


def _metrics(job: Json, available: dict[str, int], in_pool: int) -> Json:
    return {
        "AllocationTime": 40000,
        "ClassExhausted": None,
        "ClassFiltered": None,
        "CoalescedFailures": 0,
        "ConstraintFiltered": None,
        "DimensionExhausted": None,
        "NodePool": job["NodePool"],
        "NodesAvailable": available,
        "NodesEvaluated": 0,
        "NodesExhausted": 0,
        "NodesFiltered": 0,
        "NodesInPool": in_pool,
        "QuotaExhausted": None,
        "ResourcesExhausted": None,
        "ScoreMetaData": None,
        "Scores": None,
    }


def _count(metrics: Json, total: str, classes: str, reasons: str, node: Node, reason: str) -> None:
    metrics[total] += 1
    for key, name in ((classes, node.node_class), (reasons, reason)):
        if name:
            table = metrics[key] = metrics[key] or {}
            table[name] = table.get(name, 0) + 1


def _exhausted(group: Json, dimensions: dict[str, int]) -> Json:
    """AllocMetric.ExhaustResources: only memory and cpu are told per task."""
    out = {}
    for task in group["Tasks"]:
        row = {
            "CPU": 0,
            "Cores": 0,
            "Devices": None,
            "DiskMB": 0,
            "IOPS": 0,
            "MemoryMB": 0,
            "MemoryMaxMB": 0,
            "NUMA": None,
            "Networks": None,
            "SecretsMB": 0,
        }
        if dimensions.get("memory"):
            row["MemoryMB"] = task["Resources"]["MemoryMB"]
        if dimensions.get("cpu"):
            row["CPU"] = task["Resources"]["CPU"]
        out[task["Name"]] = row
    return out
