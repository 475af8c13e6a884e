"""The workspace's own file, .devpod/nomad.yaml."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from devpod import AGENT, DevPod, Image
from harness import PROJECT, Cluster, Machine, NomadCluster, Provider, SimCluster
from test_devpod import devpod, image, release  # noqa: F401 the fixtures

NAME = ".devpod/nomad.yaml"
DOCS = (PROJECT / "docs" / "config-file.md").read_text()
DEFAULTS = {"NOMAD_MEMORYMB": "512", "NOMAD_CPU": "200", "NOMAD_DISKMB": "300", "NOMAD_IMAGE": "", "NOMAD_REGION": ""}
"""Some of the options as DevPod passes them when nobody set any."""


def blocks(kind: str) -> list[str]:
    """The docs' blocks of that kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)


def put(folder: Path, text: str) -> Path:
    path = folder / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


def memory(cluster: Cluster, machine: Machine) -> int:
    job = cluster.job(machine.name)
    assert job is not None
    sizes: list[int] = [t["Resources"]["MemoryMB"] for t in job["TaskGroups"][0]["Tasks"] if t["Name"] == "machine"]
    (size,) = sizes
    return size


def test_mistakes_have_their_place(provider: Provider, tmp_path: Path) -> None:
    """Together with those of the variables, before anything is asked of Nomad."""
    folder = put(tmp_path / "ws", "nomad_cpu: 0\n\nnomad_memmorymb: 1\nnomad_token: t0ps3cret\n")
    env = {"MACHINE_ID": "m", "WORKSPACE_SOURCE": f"local:{folder}", "NOMAD_PRIORITY": "x"}
    done = provider.run("status", env=env)
    assert (done.code, done.out) == (1, "")
    assert done.error.splitlines()[:4] == [
        f"{NAME}:3:1: unknown option 'nomad_memmorymb'; did you mean nomad_memorymb?",
        f"{NAME}:4:1: nomad_token: a secret, and files of a workspace are shared, and copied to the machine; remove "
        "it, and set NOMAD_TOKEN in the environment in which devpod runs",
        f"{NAME}:1:1: nomad_cpu='0': out of range (MHz, 1 to 1000000)",
        "NOMAD_PRIORITY='x': not a whole number (1 to 32766)",
    ]
    assert "t0ps3cret" not in done.err
    del env["NOMAD_PRIORITY"]
    assert provider.run("status", env=env).error.endswith(f"\nhint: the file is {folder / NAME}\n")


def test_a_fifo_is_not_waited_for(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / ".devpod").mkdir()
    os.mkfifo(tmp_path / NAME)
    done = provider.run("status", env={"MACHINE_ID": "m"}, cwd=tmp_path)
    assert done.code == 1
    assert done.error == (
        f"{NAME}: not a regular file; make it a file that you can read, or remove it\nhint: the file is {NAME}\n"
    )


def test_the_job_is_what_the_file_says(cluster: Cluster, tmp_path: Path) -> None:
    """DevPod's defaults do not hide it, an option does; start takes what it says then."""
    folder = put(tmp_path / "ws", "nomad_memorymb: 300\nnomad_cpu: 111\n")
    machine = cluster.machine(**DEFAULTS, WORKSPACE_SOURCE=f"local:{folder}")
    machine.ok("create", env={"NOMAD_CPU": "222"})
    assert memory(cluster, machine) == 300
    job = cluster.job(machine.name)
    assert job is not None
    assert [t["Resources"]["CPU"] for t in job["TaskGroups"][0]["Tasks"] if t["Name"] == "machine"] == [222]
    machine.ok("stop")
    put(folder, "nomad_memorymb: 400\n")
    machine.ok("start")
    assert memory(cluster, machine) == 400


def test_the_current_directory(sim: SimCluster, tmp_path: Path) -> None:
    machine = sim.machine(**DEFAULTS)
    machine.ok("create", cwd=put(tmp_path / "ws", "nomad_memorymb: 300\n"))
    assert memory(sim, machine) == 300


def test_the_folder_that_devpod_has_noted(sim: SimCluster, tmp_path: Path) -> None:
    """DevPod names no source to create; the current directory is another's."""
    folder = put(tmp_path / "ws", "nomad_memorymb: 300\n")
    machine = sim.machine(**DEFAULTS)
    noted = machine.folder.parent.parent / "workspaces" / "ws" / "workspace.json"
    noted.parent.mkdir(parents=True)
    noted.write_text(json.dumps({"machine": {"machineId": machine.name}, "source": {"localFolder": str(folder)}}))
    machine.ok("create", cwd=put(tmp_path / "other", "nomad_memorymb: 400\n"))
    assert memory(sim, machine) == 300


def test_a_repository_gives_no_privileges(sim: SimCluster, tmp_path: Path) -> None:
    folder = put(tmp_path / "clone", "nomad_addr: http://evil.example\nnomad_memorymb: 300\nnomad_priority: 99\n")
    machine = sim.machine(**DEFAULTS, WORKSPACE_SOURCE="git:https://git.example/a")
    done = machine.ok("create", cwd=folder)
    assert [line for line in done.err.splitlines() if line.startswith("warning:")] == [
        f"warning: {NAME}:{line}: {key} is ignored: the workspace is no folder of this computer, and then only size, "
        "image and storage are taken from the file"
        for line, key in ((1, "nomad_addr"), (3, "nomad_priority"))
    ]
    assert memory(sim, machine) == 300
    job = sim.job(machine.name)
    assert job is not None and job["Priority"] == 50
    # where the stream is another's, nothing is said
    assert machine.ok("status", cwd=folder).err == machine.ok("command", env={"COMMAND": "true"}, cwd=folder).err == ""


def test_the_token_stays_here(sim: SimCluster, provider: Provider, tmp_path: Path) -> None:
    """A cloned folder cannot have it sent anywhere."""
    folder = put(tmp_path / "ws", f"nomad_addr: {sim.url}\n")
    env = {"MACHINE_ID": "m", "NOMAD_ADDR": "", "NOMAD_TOKEN": "t0ps3cret"}
    done = provider.run("status", env=env, cwd=folder)
    assert (done.code, done.error) == (
        1,
        f"{NAME}:1:1: nomad_addr='{sim.url}': NOMAD_TOKEN would be sent there, and where to is not for a workspace's "
        f"file to say; set NOMAD_ADDR in the environment or as an option\nhint: the file is {NAME}\n",
    )
    assert sim.asked() == []
    env["NOMAD_TOKEN"] = ""
    assert provider.run("status", env=env, cwd=folder).out == "NotFound\n"


def test_yaml_of_the_docs(sim: SimCluster, tmp_path: Path) -> None:
    """Each example is taken, and the one with mistakes gives the message that is printed there."""
    first, json_text, mistaken = blocks("yaml")
    for example in (first, json_text):
        machine = sim.machine(**DEFAULTS)
        assert machine.ok("status", cwd=put(tmp_path / "ws", example)).out == "NotFound\n"
    done = sim.machine(**DEFAULTS).run("status", cwd=put(tmp_path / "ws", mistaken))
    (printed,) = blocks("text")
    assert (done.code, done.err) == (1, printed)


@pytest.mark.nomad
@pytest.mark.devpod
def test_commands_of_the_docs(
    devpod: DevPod,  # noqa: F811
    nomad: NomadCluster,
    image: Image,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As they stand there, in the folder; and again from another directory."""
    folder = tmp_path / "e2e-file"
    (folder / ".devcontainer").mkdir(parents=True)
    (folder / ".devcontainer" / "devcontainer.json").write_text(json.dumps({"image": image.machine}))
    options = {"NOMAD_IMAGE": image.machine, "AGENT_PATH": AGENT}
    more = ["--provider", "nomad", "--ide", "none", *(f"--provider-option={k}={v}" for k, v in options.items())]
    monkeypatch.chdir(folder)
    (tmp_path / "elsewhere").mkdir()

    seen: list[int] = []
    for block in blocks("sh"):
        for line in block.splitlines():
            program, *words = line.split()
            if program != "devpod":
                assert os.system(line) == 0
                continue
            devpod.run(*words, *(more if words[0] == "up" else []))
        seen.append(memory(nomad, machine_of(nomad, tmp_path)))
    assert seen == [1024, 1536]

    monkeypatch.chdir(tmp_path / "elsewhere")
    (folder / NAME).write_text("nomad_memorymb: 2000\n")
    devpod.run("stop", folder.name)
    devpod.run("up", folder.name, "--ide", "none")
    assert memory(nomad, machine_of(nomad, tmp_path)) == 2000
    devpod.run("delete", folder.name)


def machine_of(nomad: NomadCluster, tmp_path: Path) -> Machine:
    """The one that DevPod has made."""
    (found,) = (tmp_path / "devpod").glob("contexts/*/machines/*")
    return Machine(nomad, nomad.provider, found.name, found)
