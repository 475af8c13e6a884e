"""Exec over WebSocket: command/agent/alloc_endpoint.go and the docker driver's ExecTaskStreaming, as measured.

Output goes in frames of 1 KB; `{"stdout":{"close":true}}` and the same for stderr come before the exit frame; the exit
code is left out when it is 0; then the connection just ends, without a close frame. Errors are close frames: 1011 for
what would be a 500, 1008 for the rest.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import shutil
import struct
import termios
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from . import process
from .client import TaskRunner
from .faults import ExecFault

if TYPE_CHECKING:
    from .client import Clients

PIECE = 1024
HIGH_WATER = 1 << 20
TAIL_DELAY = 0.05
"""How long output counts as "still on its way" for lost_tail and exit_first."""


class _PtyProtocol(asyncio.StreamReaderProtocol):
    """The EIO at a pty's end is an end of file; what was read before it stays readable."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(None)


class CloseWith(Exception):
    """End the session with a close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def text_frame(payload: bytes) -> bytes:
    """An unmasked, final text frame (RFC 6455)."""
    size = len(payload)
    if size < 126:
        head = bytes((0x81, size))
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x81, 126, size)
    else:
        head = struct.pack("!BBQ", 0x81, 127, size)
    return head + payload


class Session:
    """One exec: a process of the task and its WebSocket."""

    def __init__(
        self,
        request: web.Request,
        ws: web.WebSocketResponse,
        task: TaskRunner,
        clients: Clients,
        faults: dict[str, ExecFault],
    ) -> None:
        self.request = request
        self.ws = ws
        self.task = task
        self.clients = clients
        self.faults = faults
        self.piece = 1 if "one_byte" in faults else faults["chunk"].bytes if "chunk" in faults else PIECE
        tail = faults.get("lost_tail") or faults.get("exit_first")
        self.tail = (tail.bytes or 1 << 30) if tail else 0
        self.held: list[tuple[str, bytes]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.sent = 0
        self.moved = 0
        self.draining = False
        self.over = False
        self.reader: asyncio.Future[None] | None = None

    # -- to the client

    def _raw(self, data: bytes) -> None:
        transport = self.request.transport
        if not self.over and transport is not None and not transport.is_closing():
            transport.write(data)

    def _frames(self, kind: str, data: bytes) -> None:
        limit = self.faults.get("close") or self.faults.get("cut") or self.faults.get("silent")
        if limit is not None:
            data = data[: max(limit.bytes - self.sent, 0)]
        self.sent += len(data)
        pieces = (data[i : i + self.piece] for i in range(0, len(data), self.piece))
        head, tail = f'{{"{kind}":{{"data":"'.encode(), b'"}}'
        self._raw(b"".join(text_frame(head + base64.b64encode(p) + tail) for p in pieces))

    def _release(self, keep: int = 0) -> None:
        """Send what was held back, but for the last `keep` bytes."""
        left = sum(len(d) for _, d in self.held)
        while self.held and left > keep:
            kind, data = self.held.pop(0)
            now = min(len(data), left - keep)
            self._frames(kind, data[:now])
            left -= now
            if now < len(data):
                self.held.insert(0, (kind, data[now:]))

    async def _output(self, kind: str, stream: asyncio.StreamReader) -> None:
        """Copy output; it goes on when the client is gone, so that the process never blocks on it."""
        while True:
            try:
                data = await stream.read(1 << 16)
            except OSError:  # a pty's master ends with EIO
                break
            if not data:
                break
            self.moved += 1
            if self.over:
                continue
            if self.tail:
                self.held.append((kind, data))
                self._release(self.tail)
                if self.timer is not None:
                    self.timer.cancel()
                self.timer = asyncio.get_running_loop().call_later(TAIL_DELAY, self._release)
            else:
                self._frames(kind, data)
                await self._drain()
            await self._limit()

    async def _drain(self) -> None:
        transport = self.request.transport
        if transport is not None and transport.get_write_buffer_size() > HIGH_WATER:
            self.moved += 1
            self.draining = True
            with contextlib.suppress(ConnectionError):
                await self.request.protocol._drain_helper()
            self.draining = False

    async def _limit(self) -> None:
        for kind in ("close", "cut", "silent"):
            fault = self.faults.get(kind)
            if fault is not None and not self.over and self.sent >= fault.bytes:
                if kind == "close":
                    self.hang_up(fault.code, fault.reason)
                elif kind == "cut":
                    self.hang_up()
                elif self.reader is not None:
                    self.over = True
                    self.reader.cancel()  # it is who answers pings

    def hang_up(self, code: int = 0, reason: str = "") -> None:
        """End the connection; the real server sends no close frame after an exit."""
        if code:
            payload = struct.pack("!H", code) + reason.encode()[:123]
            self._raw(bytes((0x88, len(payload))) + payload)
        self.over = True
        if self.request.transport is not None:
            self.request.transport.close()

    def _exit(self, code: int) -> None:
        result = {"exit_code": code} if code else {}
        frames = [
            b'{"stdout":{"close":true}}',
            b'{"stderr":{"close":true}}',
            json.dumps({"exited": True, "result": result}, separators=(",", ":")).encode(),
        ]
        self._raw(b"".join(text_frame(f) for f in frames))

    # -- from the client

    async def _input(self, stdin: asyncio.StreamWriter, master: int | None) -> None:
        """Frames from the client; when it goes away stdin ends but the process is not killed."""
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            async for message in self.ws:
                if message.type is not WSMsgType.TEXT:
                    continue
                frame = json.loads(message.data)
                size = frame.get("tty_size")
                if size and master is not None:
                    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", size["height"], size["width"], 0, 0))
                given = frame.get("stdin") or {}
                if given.get("data") and not stdin.is_closing():
                    stdin.write(base64.b64decode(given["data"]))
                    with contextlib.suppress(ConnectionError):
                        await stdin.drain()
                if given.get("close") and "no_stdin_close" in self.faults:
                    self.faults["no_stdin_close"].closes += 1
                elif given.get("close") and master is None:
                    stdin.close()
        self.over = True
        if not stdin.is_closing() and master is None:
            stdin.close()

    # -- the run

    async def run(self, command: list[str], tty: bool) -> None:
        if "spurious_exit" in self.faults:
            self._exit(0)
            self.hang_up()
            return
        if "hang" in self.faults:
            with contextlib.suppress(ConnectionError):
                async for _ in self.ws:
                    pass
            return
        if "delay" in self.faults:
            await asyncio.sleep(self.faults["delay"].seconds)
        env = self.task.environment()
        if shutil.which(command[0], path=env["PATH"]) is None:
            text = (
                f'OCI runtime exec failed: exec failed: unable to start container process: exec: "{command[0]}": '
                "executable file not found in $PATH: unknown\r\n"
            )
            self._frames("stdout", text.encode())
            self._exit(126)
            self.hang_up()
            return
        if tty:
            await self._run_tty(command, {**env, "TERM": "xterm"})
        else:
            await self._run_plain(command, env)

    async def _run_plain(self, command: list[str], env: dict[str, str]) -> None:
        proc = await process.spawn(command, cwd=self.task.dir, env=env, stdin=asyncio.subprocess.PIPE)
        assert proc.stdin is not None and proc.stdout is not None and proc.stderr is not None
        outputs = [
            asyncio.ensure_future(self._output("stdout", proc.stdout)),
            asyncio.ensure_future(self._output("stderr", proc.stderr)),
        ]
        await self._watch(proc, outputs, proc.stdin, None)

    async def _run_tty(self, command: list[str], env: dict[str, str]) -> None:
        loop = asyncio.get_running_loop()
        master, slave = os.openpty()
        name = os.ttyname(slave)
        # the first terminal a session leader opens becomes its controlling one
        argv = ["/bin/sh", "-c", 'exec 0<>"$0" 1>&0 2>&0; exec "$@"', name, *command]
        null = asyncio.subprocess.DEVNULL
        proc = await process.spawn(argv, cwd=self.task.dir, env=env, stdin=null, stdout=null, stderr=null)
        reader = asyncio.StreamReader()
        write_end = os.dup(master)
        source, _ = await loop.connect_read_pipe(lambda: _PtyProtocol(reader), os.fdopen(master, "rb", 0))
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.streams.FlowControlMixin(loop), os.fdopen(write_end, "wb", 0)
        )
        stdin = asyncio.StreamWriter(transport, protocol, None, loop)
        output = asyncio.ensure_future(self._output("stdout", reader))

        def close() -> None:
            os.close(slave)  # ours was kept: a master without any slave reads EIO

        await self._watch(proc, [output], stdin, master, close, source.close)

    async def _watch(
        self,
        proc: asyncio.subprocess.Process,
        outputs: Sequence[asyncio.Future[None]],
        stdin: asyncio.StreamWriter,
        master: int | None,
        on_exit: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.task.groups.add(proc.pid)
        self.clients.guardian.tell(f"+{proc.pid}")
        self.reader = reader = asyncio.ensure_future(self._input(stdin, master))
        ended = asyncio.ensure_future(self._end(proc, outputs, stdin, on_exit, on_end))
        self.clients.keep(ended)
        try:
            await asyncio.wait({reader, ended}, return_when=asyncio.FIRST_COMPLETED)
            if "silent" in self.faults:
                await ended
        finally:
            if not ended.done():
                self.over = True  # the client went away: the process stays, its output goes nowhere
            reader.cancel()

    async def _end(
        self,
        proc: asyncio.subprocess.Process,
        outputs: Sequence[asyncio.Future[None]],
        stdin: asyncio.StreamWriter,
        on_exit: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        code = process.exit_code(await proc.wait())
        on_exit()
        self.task.groups.discard(proc.pid)
        self.clients.guardian.tell(f"-{proc.pid}")
        before = -1
        while self.moved != before or self.draining:
            # to the end, unless a daemon holds an output open: then until nothing more comes
            before = self.moved
            if not (await asyncio.wait(outputs, timeout=TAIL_DELAY))[1]:
                break
        for output in outputs:
            output.cancel()
        stdin.close()
        on_end()
        if self.timer is not None:
            self.timer.cancel()
        if "lost_tail" in self.faults:
            self.held.clear()
        if "exit_first" in self.faults:
            self._exit(code)
            self._release()
        else:
            self._release()
            self._exit(code)
        if not self.over:
            self.hang_up()


def parse_bool(text: str, name: str) -> bool:
    """strconv.ParseBool with the message that names the parameter."""
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("", "0", "f", "F", "FALSE", "false", "False"):
        return False
    raise CloseWith(1011, f'{name} value is not a boolean: strconv.ParseBool: parsing "{text}": invalid syntax')


def parse_command(text: str) -> list[str]:
    """The command parameter: a JSON list of strings."""
    head = "failed to marshal command into json: "
    try:
        value: Any = json.loads(text)
    except ValueError:
        problem = (
            "unexpected end of JSON input"
            if not text
            else f"invalid character '{text[:1]}' looking for beginning of value"
        )
        raise CloseWith(1011, head + problem) from None
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise CloseWith(1011, f"{head}json: cannot unmarshal value into Go value of type []string")
    return value
