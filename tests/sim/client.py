"""The client agents: allocation runners, task runners, their directories, logs and events.

Every task is a real local process. States, event types, texts and their order were measured on Nomad 2.0.6-dev with
the docker driver; `client_status` is getClientStatus of client/allocrunner.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import process, templates
from .docker import FakeDocker
from .state import SECOND, Alloc, Json, Node, Store, go_duration, now_ns, rfc3339
from .volumes import ClaimBusy, ClaimError, Mounts, Volumes

if TYPE_CHECKING:
    from .vault import Vault

DOCKERD = """#!/bin/sh
# the data root is the simulator's business; the socket shows while this runs
printf "%s\\n" "dockerd $*" >>"{calls}"
while [ $# -gt 0 ]; do
	case $1 in --host) sock=$(printf %s "$2" | cut -c8-) ;; --data-root) mkdir -p "$2" ;; esac
	shift
done
trap 'rm -f "$sock"; exit 0' TERM
ln -sf "$NOMAD_SIM_DOCKERD" "$sock"
while :; do sleep 86400 & wait $!; done
"""
STAND_INS = ("update-ca-certificates", "apt-get", "apk", "dnf", "docker", "mount", "iptables", "ip6tables")

_EVENT: Json = {
    "DiskLimit": 0,
    "DisplayMessage": "",
    "DownloadError": "",
    "DriverError": "",
    "DriverMessage": "",
    "ExitCode": 0,
    "FailedSibling": "",
    "FailsTask": False,
    "GenericSource": "",
    "KillError": "",
    "KillReason": "",
    "KillTimeout": 0,
    "Message": "",
    "RestartReason": "",
    "SetupError": "",
    "Signal": 0,
    "StartDelay": 0,
    "TaskSignal": "",
    "TaskSignalReason": "",
    "ValidationError": "",
    "VaultError": "",
}


class DriverError(Exception):
    """The docker driver refused to start a task: a `Driver Failure` event."""


class ConfigError(Exception):
    """The driver's config does not decode: a `Failed Validation` event."""


# What the docker driver's config schema knows (drivers/docker/config.go), with the kinds that are checked.
_LISTS = {
    "args",
    "volumes",
    "entrypoint",
    "cap_add",
    "cap_drop",
    "dns_servers",
    "extra_hosts",
    "group_add",
    "ports",
    "security_opt",
}
_BOOLS = {"init", "privileged", "force_pull", "interactive", "tty", "readonly_rootfs", "advertise_ipv6_address"}
_OTHERS = {
    "image",
    "command",
    "network_mode",
    "hostname",
    "auth",
    "labels",
    "mount",
    "mounts",
    "devices",
    "work_dir",
    "pid_mode",
    "ipc_mode",
    "uts_mode",
    "userns_mode",
    "shm_size",
    "sysctl",
    "ulimit",
    "logging",
    "runtime",
    "image_pull_timeout",
    "volume_driver",
    "storage_opt",
    "tmpfs",
    "healthchecks",
    "load",
    "auth_soft_fail",
    "cgroupns",
    "cpu_hard_limit",
    "memory_hard_limit",
    "pids_limit",
    "container_exists_attempts",
}


def check_config(config: Json) -> None:
    """Unknown keys and wrong kinds, in the words of Nomad's HCL decoder (measured)."""
    for key, value in config.items():
        if key not in _LISTS | _BOOLS | _OTHERS:
            raise ConfigError(
                "2 errors occurred:\n\t* failed to parse config: \n\t* Invalid label: No argument or block type is "
                f'named "{key}".\n\n'
            )
        kind = {str: "string", bool: "bool", int: "number", float: "number"}.get(type(value), "object")
        want = "list of string" if key in _LISTS else "bool" if key in _BOOLS else ""
        good = isinstance(value, list) if key in _LISTS else key not in _BOOLS or isinstance(value, bool)
        if not good:
            raise ConfigError(
                "2 errors occurred:\n\t* failed to parse config: \n\t* Incorrect attribute value type: Inappropriate "
                f'value for attribute "{key}": {want} required, but have {kind}.\n\n'
            )


class Log:
    """One output stream of one task: a file in alloc/logs, and whoever follows it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"alloc/logs/{path.name}"
        self.size = 0
        self._grown: asyncio.Event = asyncio.Event()

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as handle:
            handle.write(data)
        self.size += len(data)
        self._grown.set()
        self._grown = asyncio.Event()

    def read(self, offset: int, limit: int = 1 << 16) -> bytes:
        with contextlib.suppress(OSError), self.path.open("rb") as handle:
            handle.seek(offset)
            return handle.read(limit)
        return b""

    async def wait(self) -> None:
        """Until something is added."""
        await self._grown.wait()


@dataclass
class ClientConfig:
    """How the clients behave; tests set these on `sim.clients.config`."""

    missing_images: str = r"^missing/|no-such"
    image_errors: dict[str, str] = field(default_factory=dict)
    local_images: set[str] = field(default_factory=lambda: {"ubuntu:22.04", "debian:12", "alpine:3"})
    pull_delay: float = 0.0
    start_delay: float = 0.0
    update_delay: float = 0.005
    """Client updates are sent in batches; the real clients wait 0.2 s (allocSyncIntv)."""
    claim_delay: float = 0.0
    """How long a claim outlives its allocation's tasks. It goes before the servers hear that the allocation is complete:
    0.25 s and 0.45 s after the stop (measured)."""
    claim_retry: float = 0.05
    """The first wait for a volume that has no free claim, then doubled; the real clients wait 2 s, 4 s… a minute."""
    vault: Vault | None = None
    """The Vault that servers and clients know, and that lets tasks in."""
    template_retry: float = 0.05
    """How often a secret is read; the real clients wait for its lease's end, minutes without one."""


class TaskRunner:
    """One task of one allocation."""

    def __init__(self, runner: AllocRunner, task: Json) -> None:
        self.runner = runner
        self.task = task
        self.name: str = task["Name"]
        self.dir = runner.dir / self.name
        self.mark = f"{runner.clients.sim_id}/{runner.alloc.id}/{self.name}"
        self.state: Json = {
            "State": "pending",
            "Failed": False,
            "Restarts": 0,
            "LastRestart": None,
            "StartedAt": None,
            "FinishedAt": None,
            "Events": [],
            "Paused": "",
        }
        logs = runner.dir / "alloc" / "logs"
        self.logs = {kind: Log(logs / f"{self.name}.{kind}.0") for kind in ("stdout", "stderr")}
        self.proc: asyncio.subprocess.Process | None = None
        self.groups: set[int] = set()
        self.killed = False
        self.oom = False
        self._restarting = False
        self._wake = asyncio.Event()
        self._attempts = 0
        self._variables: dict[str, str] = {}  # of the templates, as the running task got them
        self._rendered: dict[str, str] = {}
        self.event("Received", "Task received by client")

    # -- events and states

    def event(self, kind: str, text: str, details: dict[str, str] | None = None, **fields: Any) -> None:
        entry = {**_EVENT, "Type": kind, "Time": now_ns(), "DisplayMessage": text, "Details": details or {}, **fields}
        events: list[Json] = self.state["Events"]
        events.append(entry)
        del events[:-10]  # the client keeps ten (client/allocrunner/taskrunner)
        self.runner.changed()

    def _set(self, state: str) -> None:
        self.state["State"] = state
        if state == "dead" or (state == "pending" and self.state["Failed"]):
            self.state["FinishedAt"] = rfc3339(now_ns())
        self.runner.changed()

    @property
    def poststop(self) -> bool:
        return (self.task["Lifecycle"] or {}).get("Hook") == "poststop"

    @property
    def running(self) -> bool:
        return self.proc is not None and self.proc.returncode is None

    # -- environment

    def environment(self) -> dict[str, str]:
        """The task's environment as measured, with host paths for the three directories."""
        alloc, job = self.runner.alloc, self.runner.alloc.job
        group = alloc.task_group
        clients = self.runner.clients
        env = {
            "HOME": str(self.dir / "home"),
            "HOSTNAME": alloc.id[:12],
            "NOMAD_ALLOC_DIR": str(self.runner.dir / "alloc"),
            "NOMAD_TASK_DIR": str(self.dir / "local"),
            "NOMAD_SECRETS_DIR": str(self.dir / "secrets"),
            "NOMAD_ALLOC_ID": alloc.id,
            "NOMAD_SHORT_ALLOC_ID": alloc.id[:8],
            "NOMAD_ALLOC_NAME": alloc.name,
            "NOMAD_ALLOC_INDEX": "0",
            "NOMAD_CPU_LIMIT": str(self.task["Resources"]["CPU"]),
            "NOMAD_MEMORY_LIMIT": str(self.task["Resources"]["MemoryMB"]),
            "NOMAD_DC": alloc.node.datacenter,
            "NOMAD_GROUP_NAME": alloc.group,
            "NOMAD_JOB_ID": job["ID"],
            "NOMAD_JOB_NAME": job["Name"],
            "NOMAD_NAMESPACE": job["Namespace"],
            "NOMAD_REGION": job["Region"],
            "NOMAD_TASK_NAME": self.name,
        }
        meta = {**(job["Meta"] or {}), **(group["Meta"] or {}), **(self.task["Meta"] or {})}
        for key, value in meta.items():
            clean = re.sub(r"[^A-Za-z0-9_.]", "_", key)
            env[f"NOMAD_META_{clean}"] = env[f"NOMAD_META_{clean.upper()}"] = str(value)
        env.update(self._variables)
        for key, value in (self.task["Env"] or {}).items():
            env[key] = self._interpolate(value, env, meta)
        path = env.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        env["PATH"] = f"{clients.bin}:{path}"
        env.update(self._docker_env(env.get("DEVPOD_MACHINE_DIR", "")))
        env[process.MARK] = self.mark
        if self.proc is not None:
            env["NOMAD_SIM_PID"] = str(self.proc.pid)
        return env

    def _docker_env(self, machine_dir: str) -> dict[str, str]:
        """The node's socket where the task mounts it; otherwise none, and the stand-in dockerd makes one."""
        clients = self.runner.clients
        root = self.dir / "root"
        (root / "var/log").mkdir(parents=True, exist_ok=True)
        # this computer may be a container itself: what a machine's script does to its own container is not for it
        test = {"DEVPOD_TEST_ROOT": str(root)}
        if any(b.startswith("/var/run/docker.sock:") for b in self.task["Config"].get("volumes") or []):
            return {**test, "DOCKER_HOST": f"unix://{clients.docker_of(self.runner.alloc.node).path}"}
        return {
            **test,
            "DOCKER_HOST": f"unix://{root}/docker.sock",
            "NOMAD_SIM_DOCKERD": str(clients.inner_docker(machine_dir).path),
        }

    def _interpolate(self, text: str, env: dict[str, str], meta: dict[str, str]) -> str:
        node = self.runner.alloc.node
        known = {
            "node.unique.id": node.id,
            "node.unique.name": node.name,
            "node.datacenter": node.datacenter,
            "node.class": node.node_class,
            "node.pool": node.pool,
            "node.region": "global",
            **{f"attr.{k}": v for k, v in node.all_attributes().items()},
            **{f"meta.{k}": v for k, v in node.meta.items()},
            **{f'env["{k}"]': v for k, v in env.items()},
            **env,
            **{f"NOMAD_META_{k}": v for k, v in meta.items()},
        }
        return re.sub(r"\$\{([^}]+)\}", lambda m: known.get(m[1].strip(), m[0]), str(text))

    # -- starting

    def _log_in(self) -> None:
        """vault_hook: the task's identity becomes a token before any template (the refusal's events are measured)."""
        block, vault = self.task["Vault"], self.runner.clients.config.vault
        if not block or not vault:
            return
        try:
            vault.login(block["Role"])
        except templates.LoginRefused as exc:
            text = f"failed to derive Vault token for identity vault_default: failed to login with JWT: {exc}"
            self._kill_failed(f"Vault: failed to derive vault token: {text}")
            self.event("Task hook failed", f"vault: {text}", {"message": f"vault: {text}"}, Message=f"vault: {text}")
            raise

    def _kill_failed(self, text: str) -> None:
        self.event("Killing", text, {"fails_task": "true"}, FailsTask=True)
        self.state["Failed"] = True
        self.killed = True

    def _render(self) -> list[Json]:
        """Write what has changed, all or nothing, and return those templates; Missing tells of all paths."""
        texts, missing = [], []
        for template in self.task["Templates"] or []:
            try:
                texts.append((template, self._text(template)))
            except templates.Missing as exc:
                missing.append(str(exc))
        if missing:
            raise templates.Missing(", ".join(dict.fromkeys(missing)))
        return [template for template, text in texts if self._write(template, text)]

    async def _templates(self) -> None:
        """A task waits, pending, until its secrets are there (measured)."""
        told = ""
        while not self.killed:
            try:
                self._render()
                return
            except templates.Missing as exc:
                if told != str(exc):
                    told = str(exc)
                    self.event("Template", f"Missing: {told}")
                await self._pause(self.runner.clients.config.template_retry)

    async def _renew(self) -> None:
        """While the task runs: each template's change mode, once for those that changed together."""
        while self.running:
            await asyncio.sleep(self.runner.clients.config.template_retry)
            try:
                changed = self._render()
            except templates.Missing:
                continue
            modes = {template["ChangeMode"] for template in changed}
            if "restart" in modes and self.running:
                self.restart("Template with change_mode restart re-rendered")
            elif "signal" in modes and self.running:
                number = next(t["ChangeSignal"] for t in changed if t["ChangeMode"] == "signal")
                self.event("Signaling", "Template re-rendered", TaskSignal=number)
                self.signal(getattr(signal, number))

    def _text(self, template: Json) -> str:
        """Ours is rendered, any other is written as given; one whose braces do not close fails as measured."""
        text: str = template["EmbeddedTmpl"]
        ours, vault = templates.parse(text), self.runner.clients.config.vault
        if ours and vault:
            block = self.task["Vault"]
            try:
                return ours.render(lambda path: vault.fields(block["Role"], path, block.get("Namespace") or ""))
            except templates.Failed as exc:
                raise ConfigError(str(exc)) from None
        if text.count(template["LeftDelim"]) != text.count(template["RightDelim"]):
            raise ConfigError("Template failed: (dynamic): parse: template: :1: unclosed action")
        return text

    def _write(self, template: Json, text: str) -> bool:
        """False: that is what the file says already."""
        dest = re.sub(r"^/?(local|secrets)/", r"\1/", self._interpolate(template["DestPath"], {}, {}))
        path = (self.dir / dest.lstrip("/")).resolve()
        if not path.is_relative_to(self.dir.resolve()):
            raise ConfigError("Template failed: template destination path escapes the alloc directory")
        if template["Envvars"]:
            self._rendered.update(templates.variables(text))
        if path.is_file() and path.read_bytes() == text.encode():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        path.chmod(int(template["Perms"] or "0644", 8))
        return True

    async def _pull(self, image: str) -> None:
        config = self.runner.clients.config
        fails = config.image_errors.get(image)
        if fails is None and re.search(config.missing_images, image):
            host = image.split("/")[0]
            if "/" in image and (":" in host or "." in host):
                fails = f"manifest for {image} not found: manifest unknown: manifest unknown"
            else:
                repo = image.rsplit(":", 1)[0]
                fails = (
                    f"pull access denied for {repo}, repository does not exist or may require 'docker login': "
                    "denied: requested access to the resource is denied"
                )
        tag = image.rsplit("/", 1)[-1].partition(":")[2]
        latest = tag in ("", "latest")
        if fails is None and image in config.local_images and not latest:
            return
        self.event("Driver", "Downloading image", {"image": image}, DriverMessage="Downloading image")
        # a kill waits for the pull's end, and then for the start, as measured: the driver's StartTask is not interrupted
        await asyncio.sleep(config.pull_delay)
        if fails is not None:
            raise DriverError(f"Failed to pull `{image}`: Error response from daemon: {fails}")
        config.local_images.add(image)

    def _binds(self, config: Json, image: str) -> list[Json]:
        """Check and prepare `volumes` and `privileged`; returns docker's Mounts."""
        node = self.runner.alloc.node
        mounts = []
        fail = f'Failed to create container configuration for image "{image}" ("sha256:{"0" * 64}"): '
        for bind in config.get("volumes") or []:
            parts = bind.split(":")
            if len(parts) < 2:
                raise DriverError(f'{fail}invalid docker volume "{bind}": not <src>:<destination> format')
            source = Path(parts[0]) if parts[0].startswith("/") else self.dir / parts[0]
            if not node.volumes_enabled and not source.is_relative_to(self.runner.dir):
                raise DriverError(f'{fail}volumes are not enabled; cannot mount host path: "{bind}"')
            read_only = len(parts) > 2 and "ro" in parts[2].split(",")
            mounts.append(
                {
                    "Type": "bind",
                    "Source": str(source),
                    "Destination": parts[1],
                    "Mode": parts[2] if len(parts) > 2 else "",
                    "RW": not read_only,
                    "Propagation": "rprivate",
                }
            )
        if config.get("privileged") and not node.privileged_enabled:
            raise DriverError(f"{fail}Docker privileged mode is disabled on this Nomad agent")
        for mount in mounts:
            self.runner.clients.make_source(Path(mount["Source"]))
        return mounts + self._volume_mounts()

    def _volume_mounts(self) -> list[Json]:
        """The task's VolumeMounts, as docker lists them, and made where it does no harm; one volume may have several."""
        runner, mounts = self.runner, []
        for mount in self.task["VolumeMounts"] or []:
            request = (runner.alloc.task_group["Volumes"] or {})[mount["Volume"]]
            source = runner.clients.volumes.source(runner.alloc, request)
            if source is None:
                raise DriverError(
                    f"host volume validation error: 1 error occurred:\n\t* missing {request['Source']}\n\n"
                )
            destination = self._interpolate(mount["Destination"], {}, {})
            runner.mount(source, Path(destination))
            mounts.append(
                {
                    "Type": "bind",
                    "Source": str(source),
                    "Destination": destination,
                    "Mode": "",
                    "RW": not (request["ReadOnly"] or mount["ReadOnly"]),
                    "Propagation": "rprivate",
                }
            )
        return mounts

    async def _start(self) -> bool:
        """prestart hooks and the driver; False when the task could not start."""
        config = self.task["Config"] or {}
        try:
            if not self.dir.is_dir():
                self.event(
                    "Task Setup",
                    "Building Task Directory",
                    {"message": "Building Task Directory"},
                    Message="Building Task Directory",
                )
                for sub in ("", "local", "secrets", "tmp", "home"):
                    (self.dir / sub).mkdir(parents=True, exist_ok=True)
                    (self.dir / sub).chmod(0o777)
            try:
                self._log_in()
                await self._templates()
            except ConfigError as exc:
                self._kill_failed(str(exc))
                return False
            except templates.LoginRefused:
                return False
            if self.killed:
                return False
            check_config(config)
            image = config.get("image") or ""
            if not image:
                raise DriverError("image name required for docker driver")
            await self._pull(image)
            mounts = self._binds(config, image)
            if self.runner.clients.config.start_delay:
                await self._pause(self.runner.clients.config.start_delay)
                if self.killed:
                    return False
            await self._exec(config, image, mounts)
        except ConfigError as exc:
            self.event("Failed Validation", str(exc), {"validation_error": str(exc)}, ValidationError=str(exc))
            return False
        except DriverError as exc:
            self.event("Driver Failure", str(exc), {"driver_error": str(exc)}, DriverError=str(exc))
            return False
        return True

    async def _exec(self, config: Json, image: str, mounts: list[Json]) -> None:
        self._variables = dict(self._rendered)
        env = self.environment()
        meta: dict[str, str] = self.runner.alloc.job["Meta"] or {}
        argv = [*(config.get("entrypoint") or [])]
        if config.get("command"):
            argv.append(config["command"])
        argv.extend(config.get("args") or [])
        argv = [self._interpolate(a, env, meta) for a in argv] or ["/bin/sh", "-c", ":"]
        if shutil.which(argv[0], path=env["PATH"]) is None:
            if not config.get("init"):
                raise DriverError(
                    f"Failed to start container {self.runner.alloc.id}: Error response from daemon: failed to create "
                    "shim task: OCI runtime create failed: runc create failed: unable to start container process: "
                    f'exec: "{argv[0]}": executable file not found in $PATH: unknown'
                )
            # with docker's init the container starts and tini ends with 127 (measured)
            argv = [
                "/bin/sh",
                "-c",
                f"echo '[FATAL tini (7)] exec {argv[0]} failed: No such file or directory' >&2; exit 127",
            ]
        self.oom = False
        self.proc = await process.spawn(argv, cwd=self.dir, env=env, stdin=asyncio.subprocess.DEVNULL)
        self.groups = {self.proc.pid}
        self.runner.clients.guardian.tell(f"+{self.proc.pid}")
        self.runner.container(self, image, mounts, argv)
        self.state["State"] = "running"
        self.state["StartedAt"] = rfc3339(now_ns())
        self.event("Started", "Task started by client")
        if self.runner.clients.config.vault and self.task["Vault"]:
            self.runner.clients.keep(asyncio.ensure_future(self._renew()))
        if self.killed:
            self._terminate(self.task["KillTimeout"])

    async def _pause(self, seconds: float) -> None:
        """Wait, but not when the task is killed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    # -- the run loop

    async def run(self) -> None:
        """TaskRunner.Run: start, wait, restart or die."""
        while not self.killed:
            started = await self._start()
            code: int | None = None
            if started:
                code = await self._wait()
            if self.killed or not self._again(code):
                break
        self._set("dead")

    async def _copy(self, kind: str, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(1 << 16):
            self.logs[kind].append(data)

    async def _wait(self) -> int:
        proc = self.proc
        assert proc is not None and proc.stdout is not None and proc.stderr is not None
        copies = [
            asyncio.ensure_future(self._copy("stdout", proc.stdout)),
            asyncio.ensure_future(self._copy("stderr", proc.stderr)),
        ]
        await process.ended(proc.pid)
        self._sweep()  # a container's other processes die with its first one
        await asyncio.gather(*copies)
        await proc.wait()
        code = process.exit_code(proc.returncode or 0)
        message = (
            "OOM Killed" if self.oom else f"Docker container exited with non-zero exit code: {code}" if code else ""
        )
        details = {"exit_code": str(code), "signal": "0", "oom_killed": str(self.oom).lower()}
        text = f"Exit Code: {code}"
        if message:
            details["exit_message"] = message
            text += f", Exit Message: {json.dumps(message)}"
        self.event("Terminated", text, details, ExitCode=code, Message=message)
        self.runner.container_gone(self)
        if self.killed:
            self.event("Killed", "Task successfully killed")
        return code

    def _sweep(self) -> None:
        for pgid in self.groups:
            process.kill_group(pgid, signal.SIGKILL)
            self.runner.clients.guardian.tell(f"-{pgid}")
        process.kill_marked(self.mark)
        self.groups = set()

    def _again(self, code: int | None) -> bool:
        """RestartTracker.GetState: restart on demand, or as the policy allows."""
        policy = self.task["RestartPolicy"]
        if self._restarting:
            self._restarting = False
            self._restarted("", 0)
            return True
        if code == 0:
            return False
        reason = "Policy allows no restarts"
        if policy["Attempts"]:
            self._attempts += 1
            if self._attempts <= policy["Attempts"]:
                self._restarted("Restart within policy", policy["Delay"])
                return True
            reason = (
                f"Exceeded allowed attempts {policy['Attempts']} in interval "
                f'{go_duration(policy["Interval"])} and mode is "{policy["Mode"]}"'
            )
        self.state["Failed"] = True
        self.event(
            "Not Restarting",
            reason,
            {"restart_reason": reason, "fails_task": "true"},
            RestartReason=reason,
            FailsTask=True,
        )
        return False

    def _restarted(self, reason: str, delay: int) -> None:
        self.state["Restarts"] += 1
        self.state["LastRestart"] = rfc3339(now_ns())
        self.state["State"] = "pending"
        text = f"Task restarting in {go_duration(delay)}"
        self.event(
            "Restarting",
            text,
            {"start_delay": str(delay), "restart_reason": reason},
            StartDelay=delay,
            RestartReason=reason,
        )

    # -- ending

    def signal(self, number: int) -> None:
        """Send a signal to the task's first process (docker's init forwards it)."""
        if self.running and self.proc is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.proc.pid, number)

    def kill(self, event: bool = True) -> None:
        """KillSignal, KillTimeout, SIGKILL."""
        if self.killed or self.state["State"] == "dead":
            return
        self.killed = True
        self._wake.set()
        timeout = self.task["KillTimeout"]
        if event:
            shown = go_duration(timeout)
            self.event(
                "Killing",
                f"Sent interrupt. Waiting {shown} before force killing",
                {"kill_timeout": shown},
                KillTimeout=timeout,
            )
        self._terminate(timeout)

    def _terminate(self, timeout: int) -> None:
        if not self.running:
            return
        name = self.task["KillSignal"] or "SIGTERM"
        self.signal(getattr(signal, name, signal.SIGTERM))
        proc = self.proc
        handle = weakref.ref(self)

        def force() -> None:
            runner = handle()
            if runner is not None and runner.proc is proc and runner.running:
                runner._sweep()

        asyncio.get_running_loop().call_later(timeout / SECOND, force)

    def restart(self, reason: str = "User requested running tasks to restart") -> None:
        """Restart in place: same allocation, same directories (PUT /v1/client/allocation/:id/restart)."""
        if not self.running:
            raise DriverError("Task not running")
        self._restarting = True
        self.event("Restart Signaled", reason, {"restart_reason": reason}, RestartReason=reason)
        self._terminate(self.task["KillTimeout"])

    def oom_kill(self) -> None:
        self.oom = True
        self._sweep()


class AllocRunner:
    """One allocation on its client."""

    def __init__(self, clients: Clients, alloc: Alloc) -> None:
        self.clients = clients
        self.alloc = alloc
        self.dir = clients.root / alloc.node.name / "alloc" / alloc.id
        self.tasks: dict[str, TaskRunner] = {}
        self.done = asyncio.Event()
        self._flush: asyncio.TimerHandle | None = None
        self._containers: dict[str, str] = {}
        self._mounts = Mounts()
        self._mounted: set[Path] = set()
        for sub in ("", "data", "logs", "tmp"):
            (self.dir / "alloc" / sub).mkdir(parents=True, exist_ok=True)
            (self.dir / "alloc" / sub).chmod(0o777)
        for task in alloc.task_group["Tasks"]:
            self.tasks[task["Name"]] = TaskRunner(self, task)

    async def run(self) -> None:
        """Main tasks together, then the poststop tasks, whatever ended the main ones."""
        try:
            before = self.clients.runners.get(self.alloc.previous)
            if before is not None and before.alloc.node is self.alloc.node:
                await before.done.wait()  # a client waits for the allocation of its own that this one replaces
            main = [t for t in self.tasks.values() if not t.poststop]
            if not await self._claim():
                return
            if any(not t.killed for t in main):
                await asyncio.gather(*(self._main(t, main) for t in main))
                await asyncio.gather(*(t.run() for t in self.tasks.values() if t.poststop))
        finally:
            for task in self.tasks.values():
                if task.state["State"] != "dead":
                    task._set("dead")
            self._unmount()
            self.done.set()
            self.flush()

    # -- volumes

    async def _claim(self) -> bool:
        """csi_hook: claim and mount the group's CSI volumes before any task starts. An allocation that waits for a claim
        stays pending and does not even heed a stop before its next try (measured)."""
        requests = [r for r in (self.alloc.task_group["Volumes"] or {}).values() if r["Type"] == "csi"]
        wait = self.clients.config.claim_retry
        while True:
            try:
                for request in requests:
                    self.clients.volumes.claim(self.alloc, request)
                return True
            except ClaimBusy:
                await asyncio.sleep(wait)
                wait = min(wait * 2, 60)
            except ClaimError as exc:
                self._setup_failed(f'failed to setup alloc: pre-run hook "csi_hook" failed: {exc}')
                return False

    def _setup_failed(self, text: str) -> None:
        """No task starts, poststop ones neither (measured)."""
        for task in self.tasks.values():
            task.state["Failed"] = True
            details = {"fails_task": "true", "kill_reason": "Failed Restoring Task"}
            task.event("Setup Failure", text, details, FailsTask=True, KillReason="Failed Restoring Task")

    def mount(self, source: Path, destination: Path) -> None:
        """Once for the allocation, whatever number of its tasks mounts it there."""
        if destination not in self._mounted and self.clients.harmless(destination):
            self._mounts.add(source, destination)
            self._mounted.add(destination)

    def _unmount(self) -> None:
        self._mounts.clear()
        delay = self.clients.config.claim_delay
        if delay:
            asyncio.get_running_loop().call_later(delay, self.clients.volumes.release, self.alloc.id)
        else:
            self.clients.volumes.release(self.alloc.id)

    @staticmethod
    async def _main(task: TaskRunner, main: list[TaskRunner]) -> None:
        await task.run()
        if task.state["Failed"]:
            for other in main:
                if other is not task and other.state["State"] != "dead":
                    other.event(
                        "Sibling Task Failed",
                        f'Task\'s sibling "{task.name}" failed',
                        {"failed_sibling": task.name},
                        FailedSibling=task.name,
                    )
                    other.kill()

    def stop(self) -> None:
        """The servers want it stopped: kill the main tasks, the poststop ones then run."""
        for task in self.tasks.values():
            if not task.poststop:
                task.kill()

    # -- updates to the servers

    def changed(self) -> None:
        if self._flush is None and self.tasks:
            delay = self.clients.config.update_delay
            self._flush = asyncio.get_running_loop().call_later(delay, self.flush)

    def client_status(self) -> tuple[str, str]:
        states = [t.state for t in self.tasks.values()]
        if any(s["State"] == "dead" and s["Failed"] for s in states):
            return "failed", "Failed tasks"
        for state, status, text in (
            ("running", "running", "Tasks are running"),
            ("pending", "pending", "No tasks have started"),
        ):
            if any(s["State"] == state for s in states):
                return status, text
        return "complete", "All tasks have completed"

    def flush(self) -> None:
        """Node.UpdateAlloc: what the client knows becomes what the servers say; a lost node says nothing."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        alloc, store = self.alloc, self.clients.store
        if store.allocs.get(alloc.id) is not alloc or alloc.node.status != "ready" or alloc.client == "lost":
            return
        was = alloc.client_terminal
        alloc.task_states = json.loads(json.dumps({n: t.state for n, t in self.tasks.items()}))
        alloc.client, alloc.client_description = self.client_status()
        alloc.modify_index = store.apply("allocs")
        alloc.modify_ns = now_ns()
        store.refresh_status(alloc.job["Namespace"], alloc.job["ID"], alloc.modify_index)
        if alloc.client_terminal and not was:
            self.clients.on_terminal(alloc)

    # -- the container in the fake Docker Engine

    def container(self, task: TaskRunner, image: str, mounts: list[Json], argv: list[str]) -> None:
        docker = self.clients.docker_of(self.alloc.node)
        self._containers[task.name] = docker.add(
            name=f"{task.name}-{self.alloc.id}",
            image=image,
            mounts=mounts,
            command=" ".join(argv),
            labels={"com.hashicorp.nomad.alloc_id": self.alloc.id},
            on_stop=lambda: task.signal(signal.SIGTERM),
        )

    def container_gone(self, task: TaskRunner) -> None:
        self.clients.docker_of(self.alloc.node).forget(self._containers.pop(task.name, ""))


class Clients:
    """All client agents of the simulated cluster."""

    def __init__(
        self,
        store: Store,
        volumes: Volumes,
        root: Path,
        guardian: process.Guardian,
        sim_id: str,
        dockers: dict[str, FakeDocker],
        on_terminal: Callable[[Alloc], None],
    ) -> None:
        self.store = store
        self.volumes = volumes
        self.root = root
        self.guardian = guardian
        self.sim_id = sim_id
        self.dockers = dockers
        self.on_terminal = on_terminal
        self.config = ClientConfig()
        self.runners: dict[str, AllocRunner] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self.inner: dict[str, FakeDocker] = {}
        self.bin = root / "bin"
        self.calls = root / "stand-in.log"
        self._stand_ins()

    def _stand_ins(self) -> None:
        """Harmless programs first on PATH: a machine's script must not change the developer's computer."""
        self.bin.mkdir(parents=True)
        script = f'#!/bin/sh\nprintf "%s\\n" "${{0##*/}} $*" >>"{self.calls}"\n'
        kill = (
            "#!/bin/sh\n# in a container, 1 is the task's own first process\nfor arg do\n\tshift\n"
            '\t[ "$arg" != 1 ] || arg=$NOMAD_SIM_PID\n\tset -- "$@" "$arg"\ndone\nkill "$@"\n'
        )
        for name in STAND_INS:
            path = self.bin / name
            path.write_text(script)
            path.chmod(0o755)
        (self.bin / "dockerd").write_text(DOCKERD.format(calls=self.calls))
        (self.bin / "dockerd").chmod(0o755)
        (self.bin / "kill").write_text(kill)
        (self.bin / "kill").chmod(0o755)

    def inner_docker(self, machine_dir: str) -> FakeDocker:
        """What dockerd in a machine's task (dind) finds in its data root, at every start."""
        if machine_dir not in self.inner:
            self.inner[machine_dir] = FakeDocker(self.root / f"inner{len(self.inner)}.sock", len(self.inner))
            self.keep(asyncio.ensure_future(self.inner[machine_dir].start()))
        return self.inner[machine_dir]

    def docker_of(self, node: Node) -> FakeDocker:
        return self.dockers[node.id]

    def harmless(self, path: Path) -> bool:
        """Below the simulator's or the system's temporary directory."""
        allowed = (self.root, Path(tempfile.gettempdir()), Path("/tmp"))
        return any((path.parent.resolve() / path.name).is_relative_to(a.resolve()) for a in allowed)

    def make_source(self, path: Path) -> None:
        """dockerd makes a missing bind source a directory; here only where it can do no harm."""
        if not path.exists() and self.harmless(path):
            with contextlib.suppress(OSError):
                path.mkdir(parents=True)

    def on_change(self, alloc: Alloc) -> None:
        """The servers placed or stopped an allocation."""
        runner = self.runners.get(alloc.id)
        if runner is None and alloc.desired == "run":
            runner = self.runners[alloc.id] = AllocRunner(self, alloc)
            self.keep(asyncio.ensure_future(runner.run()))
        elif runner is not None and alloc.desired != "run" and alloc.node.status == "ready":
            runner.stop()

    def keep(self, job: asyncio.Future[None]) -> None:
        """Hold on to a background job until it is done or the simulator stops."""
        self._tasks.add(job)
        job.add_done_callback(self._tasks.discard)

    def destroy(self, alloc: Alloc) -> None:
        """The allocation is unknown to the servers now (purge): stop, run poststop, forget (measured)."""
        runner = self.runners.get(alloc.id)
        if runner is not None and not runner.done.is_set():
            runner.stop()

    def collect(self, alloc_id: str) -> None:
        """Client garbage collection: directory and logs go."""
        runner = self.runners.pop(alloc_id, None)
        if runner is not None:
            shutil.rmtree(runner.dir, ignore_errors=True)

    async def shutdown(self) -> None:
        """Kill everything at once and wait for the runners."""
        for runner in self.runners.values():
            for task in runner.tasks.values():
                task.killed = True
                task._wake.set()
                if task.running:
                    task._sweep()
        process.kill_marked(f"{self.sim_id}/")
        for job in self._tasks:
            job.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        process.kill_marked(f"{self.sim_id}/")
