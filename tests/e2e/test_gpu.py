"""GPUs, on nodes that only say that they have some."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from harness import SimCluster

HOSTING = "hint: docs/cluster.md in the project says how a client is set up for machines, docs/gpu.md for GPUs\n"


def device(vendor: str, model: str, healthy: int, ill: int = 0, kind: str = "gpu") -> dict[str, Any]:
    """Of a node's NodeResources, as Nomad's device plugins report it."""
    instances = [{"ID": f"{model}-{i}", "Healthy": i < healthy} for i in range(healthy + ill)]
    return {"Vendor": vendor, "Type": kind, "Name": model, "Instances": instances}


def check(sim: SimCluster, devices: list[dict[str, Any]], **env: str) -> tuple[int, str]:
    """init's exit code and error, where the node has these."""
    sim.clear_faults()
    with urllib.request.urlopen(f"{sim.env['NOMAD_ADDR']}/v1/nodes?resources=true") as reply:
        nodes = json.load(reply)
    nodes[0]["NodeResources"]["Devices"] = devices
    sim.rule("/v1/nodes", status=200, body=json.dumps(nodes))
    done = sim.provider.run("init", env={**sim.env, "NOMAD_GPU": "true", **env})
    return done.code, done.error


def lacking(has: int, vendor: str, asked: int) -> str:
    return (
        "none of 1 node(s) can take a machine: node node-0 has "
        f"{has} healthy GPU(s) of {vendor} where {asked} are asked for\n{HOSTING}"
    )


def test_init_counts_gpus(sim: SimCluster) -> None:
    two = device("nvidia", "A100", 2)
    assert check(sim, []) == (1, lacking(0, "nvidia", 1))
    assert check(sim, [two], NOMAD_GPU_VENDOR="amd") == (1, lacking(0, "amd", 1))
    assert check(sim, [device("nvidia", "A100", 0, ill=1)]) == (1, lacking(0, "nvidia", 1))
    assert check(sim, [device("nvidia", "encoder", 4, kind="video")]) == (1, lacking(0, "nvidia", 1))
    # a task gets no two models for one request
    assert check(sim, [two, device("nvidia", "T4", 1)], NOMAD_GPU_COUNT="3") == (1, lacking(2, "nvidia", 3))
