"""init: one check after the other, a line each; the first failure with its hint; it changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness import Cluster, SimCluster

MakeSim = Callable[..., SimCluster]
HOSTING = "hint: docs/cluster.md in the project says how a client is set up for machines\n"


def checks(cluster: Cluster, **env: str) -> tuple[int, list[str], str]:
    """Its exit code, the checks that passed, and the error."""
    done = cluster.provider.run("init", env={**cluster.env, **env})
    assert done.out == ""
    return done.code, [x for x in done.err.splitlines() if x.startswith("ok: ")], done.error


def test_good(cluster: Cluster) -> None:
    """Without MACHINE_* variables, as DevPod calls it."""
    code, passed, error = checks(cluster)
    assert (code, error) == (0, "")
    counts = "1 of 1" if cluster.kind == "sim" else " ".join(passed[3].split()[1:4])
    assert passed == [
        f"ok: Nomad answers at {cluster.env['NOMAD_ADDR']}",
        "ok: no token is needed (ACLs are off)",
        "ok: namespace 'default' exists",
        f"ok: {counts} node(s) can take a machine (docker, with volumes and privileged)",
        "ok: a machine of this size can be placed",
    ]
    assert cluster.job("devpod-init-check") is None


def test_requests(make_sim: MakeSim) -> None:
    """No call whose cost grows with the number of jobs, and none that changes anything."""
    sim = make_sim(nodes=5)
    checks(sim)
    assert sim.asked() == [
        "GET /v1/status/leader",
        "GET /v1/acl/token/self",
        "GET /v1/namespace/default",
        "GET /v1/nodes?resources=true",
        "POST /v1/job/devpod-init-check/plan",
    ]


def test_nobody_there(sim: SimCluster) -> None:
    code, passed, error = checks(sim, NOMAD_ADDR="http://127.0.0.1:1")
    assert (code, passed) == (1, [])
    assert error.startswith("GET /v1/status/leader: http://127.0.0.1:1: ")
    assert error.endswith("\nhint: no Nomad answers at http://127.0.0.1:1: set NOMAD_ADDR to your cluster's address\n")


def test_no_leader(sim: SimCluster) -> None:
    sim.rule("/v1/status/leader", status=200, body='""')
    assert checks(sim) == (
        1,
        [],
        f"{sim.url}: Nomad has no leader\nhint: its servers have lost their quorum: nomad server members\n",
    )


def test_token_missing(make_sim: MakeSim) -> None:
    """Nomad answers for the anonymous token: that is no valid token of ours."""
    sim = make_sim(acl=True)
    code, passed, error = checks(sim)
    assert code == 1
    assert "\nhint: NOMAD_TOKEN is not set; a token with submit-job, " in error
    assert [p for p in passed if "token" in p] == []


def test_token_unknown(make_sim: MakeSim) -> None:
    sim = make_sim(acl=True)
    code, passed, error = checks(sim, NOMAD_TOKEN="9f6b2d0e-0000-4000-8000-000000000000")
    assert (code, len(passed)) == (1, 1)
    assert error.startswith("GET /v1/acl/token/self: HTTP 40")
    assert "9f6b2d0e" not in error
    assert "\nhint: the token came from NOMAD_TOKEN; it needs submit-job, " in error


def test_capability_missing(make_sim: MakeSim) -> None:
    sim = make_sim(acl=True)
    names = ["submit-job", "read-job", "read-logs", "alloc-exec"]
    for missing in names:
        sim.token(f"no-{missing}", name=missing, policy={"default": [n for n in names if n != missing]}, node="read")
        code, passed, error = checks(sim, NOMAD_TOKEN=f"no-{missing}")
        assert (code, len(passed)) == (1, 1)
        head = f"the token's policies do not grant {missing} in namespace 'default'\nhint: the token came "
        assert error.startswith(head)


def test_enough_capabilities(make_sim: MakeSim) -> None:
    """These are enough, for the rest of the life too."""
    sim = make_sim(acl=True)
    sim.token(
        "secret", name="dev", policy={"default": ["submit-job", "read-job", "read-logs", "alloc-exec"]}, node="read"
    )
    code, passed, error = checks(sim, NOMAD_TOKEN="secret")
    assert (code, error) == (0, "")
    assert passed[1] == "ok: the token is valid: dev"
    machine = sim.machine(NOMAD_TOKEN="secret")
    for command in ("create", "stop", "start", "delete"):
        machine.ok(command)
    machine.nothing_left()


def test_namespace_unknown(cluster: Cluster) -> None:
    code, passed, error = checks(cluster, NOMAD_NAMESPACE="nope")
    assert (code, len(passed)) == (1, 2)
    assert error == (
        "GET /v1/namespace/nope: HTTP 404: Namespace not found\nhint: NOMAD_NAMESPACE is 'nope': nomad namespace list\n"
    )


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        pytest.param("NOMAD_REGION", "nope", "GET /v1/status/leader: HTTP 500: No path to region\n", id="region"),
        pytest.param(
            "NOMAD_PRIORITY",
            "101",
            "POST /v1/job/devpod-init-check/plan: HTTP 500: "
            "job priority must be between [1, 100]\n",
            id="priority",
        ),
    ],
)
def test_first_failure_has_a_hint(sim: SimCluster, option: str, value: str, error: str) -> None:
    """Every failure says what to do, these by naming the option."""
    code, _, text = checks(sim, **{option: value})
    assert code == 1
    head, _, hint = text.partition("hint: ")
    assert head == error
    assert option in hint


UNFIT: list[tuple[dict[str, object], str]] = [
    ({"status": "down"}, "is not ready"),
    ({"eligibility": "ineligible"}, "takes no jobs (ineligible, or draining)"),
    ({"drain": True}, "takes no jobs (ineligible, or draining)"),
    ({"docker_healthy": False}, "has no docker"),
    (
        {"volumes_enabled": False},
        "does not let docker mount host paths (volumes { enabled = true } in its docker plugin)",
    ),
    (
        {"privileged_enabled": False},
        "does not allow privileged containers (allow_privileged = true in its docker plugin)",
    ),
    ({"datacenter": "dc2"}, "is not in the datacenters or the node pool asked for"),
]


def test_no_fit_node(sim: SimCluster) -> None:
    for state, why in UNFIT:
        before = sim.call(lambda c, names=tuple(state): {n: getattr(c.node(), n) for n in names})
        sim.set_node(**state)
        code, passed, error = checks(sim, NOMAD_DATACENTERS="dc1")
        assert (code, len(passed)) == (1, 3), why
        assert error == f"none of 1 node(s) can take a machine: node node-0 {why}\n{HOSTING}"
        sim.set_node(**{"eligibility": "eligible", **before})


def test_some_fit(make_sim: MakeSim) -> None:
    sim = make_sim(nodes=[{"privileged_enabled": False}, {}, {"status": "down"}])
    code, passed, _ = checks(sim)
    assert code == 0
    assert passed[3] == "ok: 1 of 3 node(s) can take a machine (docker, with volumes and privileged)"


def test_cannot_be_placed(cluster: Cluster) -> None:
    code, passed, error = checks(cluster, NOMAD_MEMORYMB="67108864")
    assert (code, len(passed)) == (1, 4)
    assert error.startswith("no node is large enough: memory exhausted on 1 node(s) (67108864 MB asked, ")
    assert error.endswith("\nhint: lower NOMAD_MEMORYMB\n")
