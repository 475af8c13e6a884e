"""The real DevPod, with a home of its own and images that hold its agent, so that nothing is downloaded."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import ssl
import subprocess
import urllib.request
from pathlib import Path

import pytest

from harness import IMAGE, LIMIT, Json, Machine, NomadCluster

UP_LIMIT = 300.0
SLOTS = ("first", "second")
AGENT = "/usr/local/bin/devpod"
COMPOSE = "/usr/local/bin/docker-compose"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def executable(slot: str) -> Path:
    """The DevPod in this place of DPN_DEVPOD (a list with colons; without it, devpod on PATH)."""
    named = os.environ.get("DPN_DEVPOD", "") or shutil.which("devpod") or ""
    paths = [p for p in named.split(":") if p]
    at = SLOTS.index(slot)
    if at >= len(paths):
        pytest.skip(f"there is no {slot} DevPod: DPN_DEVPOD names {len(paths)}")
    if not os.access(paths[at], os.X_OK):
        pytest.fail(f"DPN_DEVPOD: {paths[at]} is no program")
    return Path(paths[at])


class Image:
    """The tests' image with a DevPod in it: as it is for machines, with a volume in it for their devcontainers."""

    def __init__(self, devpod: Path, context: Path) -> None:
        self.devpod = devpod
        self.machine = f"e2e-devpod-machine:{secrets.token_hex(6)}"
        self.dev = self.machine.replace("-machine:", "-dev:")
        self.pushed = ""
        context.mkdir()
        lines = [f"FROM {IMAGE}"]
        for there, here in {AGENT: devpod, COMPOSE: shutil.which("docker-compose")}.items():
            if here:
                shutil.copy(here, context)
                lines.append(f"COPY {Path(here).name} {there}")
        self._build(context, self.machine, *lines)
        self._build(context, self.dev, f"FROM {self.machine}", "VOLUME /volume")

    def _build(self, context: Path, tag: str, *lines: str) -> None:
        (context / "Dockerfile").write_text("\n".join(lines) + "\n")
        docker("build", "--quiet", f"--tag={tag}", str(context))

    def push(self) -> str:
        """The devcontainers' one in the registry, which a dockerd in a machine can pull from."""
        registry = os.environ.get("REGISTRY", "")
        if not registry:
            pytest.skip("REGISTRY is not set: a dockerd in a machine cannot pull from anywhere")
        if not self.pushed:
            self.pushed = f"{registry}/{self.dev}"
            docker("tag", self.dev, self.pushed)
            docker("push", "--quiet", self.pushed)
        return self.pushed

    def remove(self) -> None:
        if self.pushed:
            docker("rmi", self.pushed)
            unpush(self.pushed)
        docker("rmi", self.dev, self.machine)


def docker(*args: str) -> None:
    subprocess.run(
        ["docker", *args],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        check=True,
        capture_output=True,
        timeout=UP_LIMIT,
    )


def unpush(name: str) -> None:
    """The registry forgets the image; what it shares with others stays."""
    registry, _, image = name.partition("/")
    repository, _, tag = image.partition(":")
    context = ssl.create_default_context(cafile=f"/etc/docker/certs.d/{registry}/ca.crt")

    def ask(method: str, reference: str) -> str:
        request = urllib.request.Request(f"https://{registry}/v2/{repository}/manifests/{reference}", method=method)
        request.add_header("Accept", MANIFEST)
        with urllib.request.urlopen(request, timeout=LIMIT, context=context) as reply:
            return str(reply.headers.get("Docker-Content-Digest", ""))

    ask("DELETE", ask("HEAD", tag))


class DevPod:
    def __init__(self, path: Path, home: Path) -> None:
        self.path = path
        self.home = home
        self.env = {
            **{k: v for k, v in os.environ.items() if k == "PATH" or k.startswith("NOMAD_")},
            "HOME": str(home),
            "DEVPOD_HOME": str(home / "devpod"),
            "DEVPOD_DISABLE_TELEMETRY": "true",
        }

    def run(self, *args: str, timeout: float = UP_LIMIT) -> str:
        """Its stdout; exit code 0 is checked."""
        done = subprocess.run(
            [self.path, *args],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"devpod {' '.join(args)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def machines(self) -> list[Path]:
        return list((self.home / "devpod").glob("contexts/*/machines/*"))


class Workspace:
    """A folder of this computer as a DevPod's workspace, in a machine of its own with these options."""

    def __init__(self, devpod: DevPod, nomad: NomadCluster, image: Image, name: str, options: dict[str, str]) -> None:
        self.devpod = devpod
        self.nomad = nomad
        self.name = name
        self.folder = devpod.home / name
        self.options = {"NOMAD_IMAGE": image.machine, "AGENT_PATH": AGENT, **options}
        self.inside = options.get("NOMAD_DOCKER_MODE") == "dind" or options.get("NOMAD_STORAGE_MODE") == "persistent"
        self.image = image.push() if self.inside else image.dev
        (self.folder / ".devcontainer").mkdir(parents=True)
        (self.folder / "README").write_text("uploaded\n")

    def configure(self, config: Json) -> None:
        (self.folder / ".devcontainer" / "devcontainer.json").write_text(json.dumps(config))

    def create(self) -> None:
        given = [f"--provider-option={k}={v}" for k, v in self.options.items()]
        self._up(str(self.folder), "--provider", "nomad", *given)
        (folder,) = self.devpod.machines()
        self.machine = Machine(self.nomad, self.nomad.provider, folder.name, folder)
        self.machine.env.update(self.options)
        self.nomad.machines.append(self.machine)

    def up(self, **options: str) -> None:
        self._up(self.name, *(f"--provider-option={k}={v}" for k, v in options.items()))

    def _up(self, *args: str) -> None:
        # DevPod's agent looks once a second whether it is time to stop the machine, instead of once a minute
        self.devpod.run("up", *args, "--ide", "none", "--daemon-interval", "1s")

    def ssh(self, command: str) -> list[str]:
        """The lines that it prints in the devcontainer."""
        return self.devpod.run("ssh", self.name, "--command", command).splitlines()

    def docker(self, args: str) -> str:
        """The docker that has the devcontainers: the machine's own, or this computer's."""
        if not self.inside:
            return self.nomad.docker(*args.split())
        done = self.machine.command(f"docker {args}")
        assert done.code == 0, done.err
        return done.out

    def devcontainers(self) -> dict[str, str]:
        """Their ids and states."""
        if self.inside:
            rows = self.docker("ps -a --no-trunc --format {{.ID}}={{.State}}").split()
            return dict(row.split("=") for row in rows)
        label = "com.hashicorp.nomad.alloc_id"
        nomads = self.nomad.docker("ps", "-aq", "--no-trunc", f"--filter=label={label}").split()
        return {i: s for i, s in self.nomad.containers(self.machine.dir).items() if i not in nomads}
