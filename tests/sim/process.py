"""Local processes: started in groups of their own, marked, and never left behind.

A container dies with its first process; here every process of a task carries a mark in its environment, so that what a
daemon detached can be found (/proc) and killed too. A guardian kills the groups and removes the directory when the
simulator itself dies without a chance to clean up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path

MARK = "NOMAD_SIM_TASK"

# stdin lines: +PGID, -PGID, q (all is clean). End of input without q: the simulator is gone.
_GUARDIAN = """
trap '' INT TERM HUP
live=' '
while read -r line; do
	case $line in
	+*) live="$live${line#+} " ;;
	-*) p=${line#-}; live="${live%% $p *} ${live#* $p }" ;;
	q) exit 0 ;;
	esac
done
{
	for p in $live; do kill -s KILL -- "-$p"; done
	for round in 1 2 3; do # what was started this very moment, and what left its group
		for p in $(grep -ls "{MARK}=$2/" /proc/[0-9]*/environ); do
			p=${p#/proc/}
			kill -s KILL "${p%/environ}"
		done
	done
} 2>/dev/null
rm -rf -- "$1"
""".replace("{MARK}", MARK)


class Guardian:
    """A small shell that outlives us by the time it takes to clean up."""

    def __init__(self, directory: Path) -> None:
        self._proc = subprocess.Popen(
            ["/bin/sh", "-c", _GUARDIAN, "guardian", str(directory), directory.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def tell(self, line: str) -> None:
        """Add (+PGID) or drop (-PGID) a process group."""
        if self._proc.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._proc.stdin.write(f"{line}\n".encode())
                self._proc.stdin.flush()

    def dismiss(self) -> None:
        """All is clean: let it go."""
        self.tell("q")
        if self._proc.stdin is not None:
            with contextlib.suppress(OSError):
                self._proc.stdin.close()
        self._proc.wait()


def marked(value: str) -> list[int]:
    """Processes whose environment holds MARK=value (or starts with value when it ends in a slash). Linux only."""
    want = f"{MARK}={value}".encode()
    out = []
    for entry in os.scandir("/proc") if os.path.isdir("/proc/self") else ():
        if not entry.name.isdigit():
            continue
        try:
            with open(f"/proc/{entry.name}/environ", "rb") as handle:
                env = handle.read().split(b"\0")
        except OSError:
            continue
        if any(v == want or (want.endswith(b"/") and v.startswith(want)) for v in env):
            out.append(int(entry.name))
    return out


def kill_marked(value: str) -> None:
    """Kill what carries the mark, until nothing does (a process may fork meanwhile)."""
    me = os.getpid()
    for _ in range(20):
        pids = [pid for pid in marked(value) if pid != me]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def kill_group(pgid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, number)


async def ended(pid: int) -> None:
    """Wait until a child has ended, whoever still holds its output: asyncio's wait() comes after the pipes' end."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(fd, lambda: readable.done() or readable.set_result(None))
    try:
        await readable
    finally:
        loop.remove_reader(fd)
        os.close(fd)


async def spawn(
    argv: list[str],
    *,
    cwd: Path,
    env: dict[str, str],
    stdin: int,
    stdout: int = asyncio.subprocess.PIPE,
    stderr: int = asyncio.subprocess.PIPE,
) -> asyncio.subprocess.Process:
    """Start a command in a session and process group of its own."""
    return await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, limit=1 << 18
    )


def exit_code(returncode: int) -> int:
    """What a container reports: 128 + signal for a killed process."""
    return 128 - returncode if returncode < 0 else returncode
