"""The command line: help, mistakes, options, and what must never be told."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness import LIMIT, Provider, SimCluster

COMMANDS = ("init", "create", "start", "stop", "delete", "status", "command", "help", "version")
SET_OPTIONS = (
    "hint: `devpod provider set-options nomad -o NAME=VALUE` sets an option for machines to come, `devpod up "
    "WORKSPACE --provider-option NAME=VALUE` for the one that is there\n"
)
NOWHERE = {"NOMAD_ADDR": "http://127.0.0.1:1", "MACHINE_ID": "m"}


def mistakes(provider: Provider, command: str = "status", **env: str) -> list[str]:
    """The lines of the error, without the hint."""
    done = provider.run(command, env={**NOWHERE, **env})
    assert (done.code, done.out) == (1, "")
    return done.error.removesuffix(SET_OPTIONS).splitlines()


def test_help(provider: Provider) -> None:
    done = provider.run("help")
    assert (done.code, done.err) == (0, "")
    for word in COMMANDS:
        assert f"\n  {word} " in done.out
    for option in ("NOMAD_ADDR", "NOMAD_TOKEN", "NOMAD_IMAGE", "ubuntu:22.04", "NOMAD_HOST_DIR", "DEVPOD_DEBUG"):
        assert option in done.out
    assert provider.run().out == provider.run("--help").out == provider.run("-h").out == done.out


def test_help_of_command(provider: Provider) -> None:
    for command in COMMANDS:
        done = provider.run("help", command)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"usage: devpod-provider-nomad [-v] {command}")
        assert provider.run(command, "--help").out == provider.run("-h", command).out == done.out


def test_version(provider: Provider) -> None:
    done = provider.run("version")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("\n") and done.out.count("\n") == 1
    assert provider.run("--version").out == done.out


USAGE_ERRORS = {
    ("nonsense",): "unknown command 'nonsense'\nhint: see: devpod-provider-nomad help\n",
    ("staus",): "unknown command 'staus'\nhint: did you mean 'status'?\n",
    ("help", "crate"): "unknown command 'crate'\nhint: did you mean 'create'?\n",
    ("--nope",): "unknown option '--nope'\nhint: see: devpod-provider-nomad help\n",
    ("status", "-x"): "unknown option '-x'\nhint: see: devpod-provider-nomad help\n",
    ("status", "x"): "status takes no argument, got 'x'\nhint: see: devpod-provider-nomad help status\n",
    ("command", "echo", "x"): "one argument too many: 'x'\nhint: put a command with blanks in quotes\n",
    ("\x1b[31m",): "unknown command '?[31m'\nhint: see: devpod-provider-nomad help\n",
    ("",): "unknown command ''\nhint: see: devpod-provider-nomad help\n",
}


def test_usage_errors(provider: Provider) -> None:
    for args, error in USAGE_ERRORS.items():
        done = provider.run(*args, env=NOWHERE)
        assert (done.code, done.out, done.err) == (2, "", f"error: {error}")


def test_stdout_cannot_be_written(provider: Provider) -> None:
    with Path("/dev/full").open("wb") as full:
        done = provider.run("help", stdout=full)
    assert (done.code, done.err) == (1, "error: stdout cannot be written\n")


def test_all_mistakes_together(provider: Provider) -> None:
    """Each with its variable and value, in the order of the docs, and nothing is asked of Nomad."""
    env = {
        "MACHINE_ID": "a/b",
        "NOMAD_ADDR": "ftp://x",
        "NOMAD_NAMESPACE": "a b",
        "NOMAD_SKIP_VERIFY": "perhaps",
        "NOMAD_CPU": "0",
        "NOMAD_CORES": "x",
        "NOMAD_MEMORYMB": "9",
        "NOMAD_DISKMB": "1e3",
        "NOMAD_DATACENTERS": "a,,b",
        "NOMAD_PRIORITY": "0",
        "NOMAD_CONSTRAINTS_JSON": "[{]",
        "NOMAD_IMAGE": "a b",
        "NOMAD_START_TIMEOUT": "30",
        "NOMAD_PLACEMENT_TIMEOUT": "-1s",
        "NOMAD_HOST_DIR": "/etc",
        "INJECT_GIT_CREDENTIALS": "yes",
    }
    lines = mistakes(provider, **env)
    assert [line.partition("=")[0] for line in lines] == list(env)
    for line, (name, value) in zip(lines, env.items(), strict=True):
        assert line.startswith(f"{name}='{value}': ") and len(line) > len(f"{name}='{value}': ")


def test_json_position(provider: Provider) -> None:
    (line,) = mistakes(provider, NOMAD_CONSTRAINTS_JSON='[{"attribute": "x",\n oops}]')
    assert "line 2" in line and "column" in line


VALUES = {
    "NOMAD_CPU": (["1", "1000000"], ["0", "1000001", "-1", "1.5", "99999999999999999999"]),
    "NOMAD_MEMORYMB": (["10", "67108864"], ["9", "67108865", "512MB"]),
    "NOMAD_START_TIMEOUT": (["1s", "24h", "1h30m", "1500ms"], ["0s", "25h", "5", "m", "1d", "1s "]),
    "NOMAD_SKIP_VERIFY": (["true", "false", "1", "0"], ["maybe", "2"]),
    "NOMAD_HOST_DIR": (["/srv/devpod", "/srv/devpod/"], ["srv", "/", "/usr/x", "/srv/../etc/x", "/srv/a b"]),
    "MACHINE_ID": (["a", "a" * 63, "A.b_c-1"], ["a" * 64, "a b", ".", "..", "é", "a/../b", "a\nb"]),
}


def test_values(provider: Provider) -> None:
    """Good ones get as far as the first request; bad ones are named."""
    for name, (good, bad) in VALUES.items():
        for value in good:
            assert mistakes(provider, **{name: value})[0].startswith("GET /v1/job/"), (name, value)
        for value in bad:
            assert mistakes(provider, **{name: value})[0].startswith(f"{name}='"), (name, value)


def test_machine_id_is_required(provider: Provider) -> None:
    """But for init; empty is unset."""
    wanted = ["MACHINE_ID: not set (DevPod sets it for each command but init)"]
    for command in ("create", "start", "stop", "delete", "status", "command"):
        assert mistakes(provider, command, MACHINE_ID="") == wanted
    assert mistakes(provider, "init", MACHINE_ID="")[0].startswith("GET /v1/status/leader")


def test_together_rules(provider: Provider) -> None:
    """What two values mean together."""
    assert mistakes(provider, NOMAD_MEMORYMB="512", NOMAD_MEMORY_MAX_MB="256") == [
        "NOMAD_MEMORY_MAX_MB='256': less than NOMAD_MEMORYMB (512)"
    ]
    assert mistakes(provider, NOMAD_CLIENT_CERT="/c") == [
        "NOMAD_CLIENT_CERT='/c': NOMAD_CLIENT_KEY is not set; both client cert and client key must be provided"
    ]
    (line,) = mistakes(provider, AGENT_DATA_PATH="/elsewhere")
    assert line.startswith("AGENT_DATA_PATH='/elsewhere': not below /var/lib/devpod-workspaces/m/")


def test_empty_is_unset(sim: SimCluster) -> None:
    """DevPod passes every option that was left empty as an empty variable."""
    names = [
        "NOMAD_TOKEN",
        "NOMAD_NAMESPACE",
        "NOMAD_REGION",
        "NOMAD_CACERT",
        "NOMAD_CAPATH",
        "NOMAD_CLIENT_CERT",
        "NOMAD_CLIENT_KEY",
        "NOMAD_TLS_SERVER_NAME",
        "NOMAD_SKIP_VERIFY",
        "NOMAD_HTTP_AUTH",
        "NOMAD_CPU",
        "NOMAD_MEMORYMB",
        "NOMAD_DISKMB",
        "NOMAD_CORES",
        "NOMAD_MEMORY_MAX_MB",
        "NOMAD_DATACENTERS",
        "NOMAD_NODE_POOL",
        "NOMAD_PRIORITY",
        "NOMAD_CONSTRAINTS_JSON",
        "NOMAD_IMAGE",
        "NOMAD_START_TIMEOUT",
        "NOMAD_PLACEMENT_TIMEOUT",
        "AGENT_PATH",
        "AGENT_DATA_PATH",
        "INJECT_GIT_CREDENTIALS",
        "INJECT_DOCKER_CREDENTIALS",
        "DEVPOD_DEBUG",
        "DEVSY_DEBUG",
    ]
    machine = sim.machine(**dict.fromkeys(names, ""))
    assert machine.ok("create").err == f"creating machine '{machine.name}'\nplaced on node node-0\n"
    job = sim.job(machine.name)
    assert job is not None
    resources = job["TaskGroups"][0]["Tasks"][0]["Resources"]
    assert (resources["CPU"], resources["MemoryMB"], job["Priority"], job["Datacenters"]) == (200, 512, 50, ["*"])
    assert {r.token for r in sim.requests} == {""}
    assert all("namespace" not in r.query and "region" not in r.query for r in sim.requests)


SECRETS = {"NOMAD_TOKEN": "5ecretT0ken", "NOMAD_HTTP_AUTH": "someone:5ecretPassw0rd"}


def test_debug(sim: SimCluster) -> None:
    """Each request with method, path, status and milliseconds; no secret."""
    for how in ("-v", "--debug", "DEVPOD_DEBUG", "DEVSY_DEBUG"):
        machine = sim.machine(**SECRETS)
        done = machine.ok(how, "create") if how.startswith("-") else machine.ok("create", env={how: "true"})
        told = [x for x in done.err.splitlines() if x.startswith("debug: ")]
        assert told[0].startswith(f"debug: GET /v1/job/{machine.name} -> 404, ") and told[0].endswith(" ms"), how
        assert told[1].startswith("debug: PUT /v1/jobs -> 200, ")
        assert "5ecret" not in done.err
    assert "debug: " not in machine.ok("status", env={"DEVPOD_DEBUG": "false"}).err


def test_secrets_stay_here(sim: SimCluster) -> None:
    """Not in a job, a URL, a file of ours, an error or the arguments of a process."""
    machine = sim.machine(**SECRETS)
    for command in (["create"], ["command", "true"], ["stop"], ["start"], ["delete"]):
        machine.ok("-v", *command)
    for request in sim.requests:
        assert "5ecret" not in request.body + request.target
    assert not any("5ecret" in f.read_text() for f in machine.folder.iterdir())
    sim.rule("^GET /v1/job/", status=403, body="Permission denied")
    assert "5ecret" not in machine.run("-v", "status").err


def test_a_bad_secret_is_not_shown(provider: Provider) -> None:
    for name in SECRETS:
        lines = mistakes(provider, **{name: "5ecret\n"})
        assert "5ecret" not in "".join(lines) and lines[0].startswith(f"{name}: ")


def test_streams_closed(provider: Provider) -> None:
    """With stdin, stdout or stderr closed, nothing that is opened later takes their place."""
    for redirect, code in (("<&-", 0), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)):
        done = subprocess.run(
            ["sh", "-c", f'exec "$0" version {redirect}', str(provider.path)],
            env=provider.environment({}),
            capture_output=True,
            timeout=LIMIT,
        )
        assert (done.returncode, done.stderr) == (code, b"")
