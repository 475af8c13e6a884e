"""command: what it says, and ends with, when the line, the machine or what is between them fails."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import LIMIT, Machine, SimCluster, until, sim_of
from test_connection import Authority, ca  # noqa: F401: the fixture

INCOMPLETE = "error: the output may be incomplete: "
START = "\nhint: start it: `devpod machine start`, or `devpod up` of its workspace\n"
EXEC = "^GET /v1/client/allocation/[^/]*/exec"
PROXY = "\nhint: does a proxy between here and Nomad drop the Upgrade header? exec needs WebSockets\n"


@contextlib.contextmanager
def running(machine: Machine, command: str = "exec sleep 86400", **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that has begun; it is not among the arguments, for left()."""
    with machine.popen("command", env={"COMMAND": f"echo begun; {command}", **env}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        yield process
        if process.poll() is None:
            process.kill()


def error(process: subprocess.Popen[bytes], code: int = 1, limit: float = LIMIT) -> str:
    assert process.stderr is not None
    assert process.wait(limit) == code
    return process.stderr.read().decode()


def left(token: str) -> list[int]:
    """Processes, in whatever container, with the token in their arguments."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if token.encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def token() -> str:
    return f"86400.{secrets.randbelow(10**9):09}"


# -- the machine ends below a command


def test_out_of_memory(small: Machine) -> None:
    with running(small) as process:
        sim_of(small).oom_kill(sim_of(small).running(small.name)["ID"])
        text = error(process)
    assert text.startswith(f"{INCOMPLETE}the machine ran out of memory and was killed: ")
    assert text.endswith("\nhint: give it more: NOMAD_MEMORYMB, or NOMAD_MEMORY_MAX_MB\n")


def test_stopped(created: Machine) -> None:
    with running(created) as process:
        created.ok("stop")
        text = error(process)
    assert text.startswith(f"{INCOMPLETE}the machine was stopped: ")
    assert text.endswith(START)


def test_replaced(created: Machine) -> None:
    """Registered again with another spec: Nomad stops the allocation and starts another."""
    cluster = created.cluster
    first = cluster.running(created.name)["ID"]
    with running(created) as process:
        job = cluster.job(created.name)
        assert job is not None
        job["TaskGroups"][0]["Tasks"][0]["Env"]["ANOTHER"] = "spec"
        cluster.put_job(job)
        text = error(process)
    assert text.startswith(f"{INCOMPLETE}the machine was replaced by another allocation: "), text
    assert text.endswith("\nhint: run the command again: it goes to the new one\n")
    ident = until(lambda: created.command("echo $NOMAD_ALLOC_ID").out.strip())
    assert ident == cluster.running(created.name)["ID"] != first


def test_ended_by_itself(small: Machine) -> None:
    with running(small) as process:
        sim_of(small).signal_task(sim_of(small).running(small.name)["ID"])
        text = error(process)
    assert text.startswith(f"{INCOMPLETE}the machine has ended: ")
    assert text.endswith(START)


@pytest.mark.parametrize("status", ["down", "disconnected"])
def test_node_down(small: Machine, status: str) -> None:
    sim = sim_of(small)
    sim.exec_fault("cut", bytes=30)
    with running(small, "read -r l; echo 0123456789012345678901234567890123456789; sleep 86400") as process:
        sim.set_node(status=status)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        text = error(process)
    assert re.match(rf"{INCOMPLETE}the machine's node 'node-0' is (down|disconnected|lost|unknown): ", text), text
    assert "\nhint: the command's outcome is not known; `nomad node status` tells when the node is back\n" in text


def test_server_restarts(small: Machine) -> None:
    """Nothing answers any more: the line's own message, at once."""
    sim = sim_of(small)
    url = sim.url
    with running(small) as process:
        sim.stop()
        text = error(process)
    said = rf"Nomad closed the line|GET \S+/exec: {re.escape(url)} closed the connection|GET \S+/exec: the connection to {re.escape(url)} broke: .*"
    assert re.fullmatch(f"{INCOMPLETE}({said})\n", text), text


@pytest.mark.slow
def test_silence(make_sim: Callable[..., SimCluster]) -> None:
    """Nothing comes any more, no pong either, and nothing says that the line is gone: a minute, as users wait."""
    one, other = make_sim().machine(), make_sim().machine()
    for machine in (one, other):
        machine.ok("create")
        sim_of(machine).exec_fault("silent", bytes=len(b"\x1edpn-ready\nbegun\n"))
    with running(one) as first, running(other) as second:
        sim_of(other).set_node(status="down")
        texts = [error(process, limit=100) for process in (first, second)]
    silent = "the line to Nomad is silent for 60 s\nhint: "
    assert texts == [
        f"{INCOMPLETE}{silent}is the network, or a VPN, down? The command may still run in the machine\n",
        f"{INCOMPLETE}the machine's node 'node-0' is lost: {silent}the command's outcome is not known; "
        "`nomad node status` tells when the node is back\n",
    ]


# -- refusals


@pytest.mark.parametrize("status", [401, 403])
def test_refused_upgrade(small: Machine, status: int) -> None:
    sim_of(small).rule(EXEC, status=status, body="Permission denied")
    text = small.fails("command", "true")
    assert f": HTTP {status}: Permission denied\nhint: without a token: set NOMAD_TOKEN to one with the capability alloc-exec in this namespace\n" in text
    text = small.fails("command", "true", env={"NOMAD_TOKEN": "t"})
    assert "\nhint: the token from NOMAD_TOKEN needs the capability alloc-exec in this namespace, and the node must not have disable_remote_exec set\n" in text


def test_refused_after_upgrade(small: Machine) -> None:
    """As Nomad itself does; `disable_remote_exec` reads the same."""
    sim_of(small).rule(EXEC, action="ws_close", code=1011, reason="Permission denied")
    text = small.fails("command", "true")
    assert ": Nomad closed the line: Permission denied\nhint: " in text
    assert "alloc-exec" in text and "disable_remote_exec" in text


@pytest.mark.parametrize("status", [200, 400, 426])
def test_upgrade_stripped(small: Machine, status: int) -> None:
    sim_of(small).rule(EXEC, status=status, body="<html>no</html>")
    text = small.fails("command", "true")
    assert f": HTTP {status}: <html>no</html>{PROXY}" in text


def test_other_answer(small: Machine) -> None:
    sim_of(small).rule(EXEC, action="garbage", body="SSH-2.0-OpenSSH_9.2\r\n\r\n")
    assert ": no HTTP answer: SSH-2.0-OpenSSH_9.2\n" in small.fails("command", "true")


# -- what is between


class Between:
    """A proxy that counts connections; it lets the handshake and the first bytes pass, then says something of its own."""

    def __init__(self, url: str, after: bytes = b"\0no such bytes", say: bytes = b"") -> None:
        scheme, _, address = url.partition("://")
        host, port = address.split(":")
        self.connections = 0
        self.to = (host, int(port))
        self.after, self.say = after, say
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"{scheme}://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                self.connections += 1
                server = socket.create_connection(self.to)
                threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._copy, args=(server, client, True), daemon=True).start()

    def _copy(self, source: socket.socket, to: socket.socket, spoil: bool) -> None:
        seen = b""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                seen += data if spoil else b""
                to.sendall(data)
                if spoil and self.after in seen:
                    spoil = False
                    to.sendall(self.say)
                    if self.say[-1:] == b"!":
                        break
        with contextlib.suppress(OSError):  # the other direction goes on: a server that hangs up may have said why
            to.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.server.close()


class Plain(Between):
    """A server without TLS, as Go's; the simulator's may say nothing to what is no HTTP."""

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                self.connections += 1
                with contextlib.suppress(OSError), client:
                    client.recv(1 << 16)
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


class Picky(Between):
    """A server that lets nobody in: none has a certificate that it takes. It says so by an alert, as Go's does and
    asyncio's, which the simulator has, does not."""

    def __init__(self, ca: Authority, pair: tuple[str, str]) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca.cert))
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_cert_chain(*pair)
        super().__init__("https://127.0.0.1:0")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                self.connections += 1
                tls = self.context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
                with contextlib.suppress(OSError), tls:
                    with contextlib.suppress(ssl.SSLError):
                        tls.do_handshake()
                    while os.read(tls.fileno(), 4096):  # or a reset would overtake the alert
                        pass


def told_at_once(machine: Machine, server: Between, hint: str, **env: str) -> None:
    """What is wrong with TLS is wrong the next time too: one connection, and the reason."""
    before = server.connections
    text = machine.fails("command", "true", env={"NOMAD_ADDR": server.url, **env})
    assert f"\nhint: {hint}" in text, text
    assert server.connections == before + 1, text


def test_no_tls_there(small: Machine) -> None:
    plain = Plain("https://127.0.0.1:0")
    told_at_once(small, plain, "does the server speak TLS (else write http:// in NOMAD_ADDR)")
    plain.close()


def test_tls_refused(make_sim: Callable[..., SimCluster], ca: Authority, tmp_path: Path) -> None:
    """Either side's certificate, and files that hold none."""
    pair = ca.pair("nomad", "IP:127.0.0.1")
    sim = make_sim(tls=pair)
    other = Authority(tmp_path / "other")
    stranger, key = other.pair("stranger", "DNS:stranger")
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    machine = sim.machine(NOMAD_CACERT=str(ca.cert))
    machine.ok("create")
    between, picky = Between(sim.url), Picky(ca, pair)
    assert machine.command("exit 3").code == 3  # from now on it knows the allocation
    client = "does the server speak TLS (else write http:// in NOMAD_ADDR), and does it want a client certificate"
    for _ in ("the allocation is known", "it has to be looked up first"):
        told_at_once(machine, between, "the server's certificate is not trusted: ", NOMAD_CACERT=str(other.cert))
        told_at_once(machine, between, "look at NOMAD_CACERT: a PEM file is wanted", NOMAD_CACERT=str(empty))
        told_at_once(machine, picky, client)
        told_at_once(machine, picky, client, NOMAD_CLIENT_CERT=stranger, NOMAD_CLIENT_KEY=key)
        no_pair = {"NOMAD_CLIENT_CERT": stranger, "NOMAD_CLIENT_KEY": pair[1]}
        told_at_once(machine, picky, "look at NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY: both PEM, of one pair", **no_pair)
        machine.state.unlink(missing_ok=True)
    between.close()
    picky.close()


# -- frames that are none


def text_frame(payload: bytes) -> bytes:
    return bytes((0x81, len(payload))) + payload


BROKEN = {
    "half-frame": (b"\x81\x7eX!", r"the output may be incomplete: GET \S+: \S+ closed the connection"),
    "bad-base64": (text_frame(b'{"stdout":{"data":"a"}}'), "Nomad sent a frame whose stdout is no valid base64"),
    "bad-json": (text_frame(b'{"stdout":}'), "a frame from Nomad: invalid JSON at line 1, column 11"),
    "bad-utf8": (text_frame(b'{"\xff":1}'), "WebSocket: a text message is no UTF-8"),
    "masked": (b"\x81\x82xxxx{}", "WebSocket: a frame from the server is masked"),
    "oversized": (b"\x82\x7f\0\0\0\0\x7f\0\0\0", "WebSocket: a message is larger than we take"),
    "reserved": (b"\xc1\x01x", "WebSocket: a reserved bit is set"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_frames(small: Machine, kind: str) -> None:
    say, wanted = BROKEN[kind]
    between = Between(sim_of(small).url, b"YmVndW4K", say)  # begun
    with running(small, NOMAD_ADDR=between.url, NOMAD_EXEC_DIRECT="false") as process:
        text = error(process)
    between.close()
    assert re.fullmatch(f"error: {wanted}\n(hint: .*\n)?", text), text


def test_unknown_members(small: Machine) -> None:
    say = text_frame(b'{"news":[1,{"a":null}],"stdout":{"data":"eA==","x":1}}')
    between = Between(sim_of(small).url, b"YmVndW4K", say)
    with running(small, "read -r l; exit 7", NOMAD_ADDR=between.url, NOMAD_EXEC_DIRECT="false") as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.read(1) == b"x"
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.wait(LIMIT) == 7
        assert process.stdout.read() == b""
    between.close()


# -- pipes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals(created: Machine, number: signal.Signals) -> None:
    """128 + signal; who writes to our stdout there gets the SIGPIPE that he'd get here."""
    mark = token()
    with running(created, f"exec sleep {mark}") as process:
        until(lambda: left(mark))
        process.send_signal(number)
        assert error(process, 128 + number) == f"error: interrupted ({number.name})\n"
    until(lambda: not left(mark), timeout=10)


@pytest.mark.parametrize("flowing", [True, False])
def test_reader_gone(created: Machine, flowing: bool) -> None:
    """`… | head -1`: it ends at once, and so does what writes in the machine."""
    mark = token()
    command = f"exec sh -c 'while :; do echo y; done' {mark}" if flowing else f"exec sleep {mark}"
    with running(created, command) as process:
        assert process.stdout is not None
        until(lambda: left(mark))
        process.stdout.close()
        assert error(process) == "error: write stdout: Broken pipe\n"
    until(lambda: not left(mark), timeout=10)


def test_reader_gone_spares_others(created: Machine) -> None:
    """Processes with another stdout, such as daemons, stay."""
    mark = token()
    with running(created, f"sleep {mark} >/dev/null 2>&1 & exec sleep 86400") as process:
        assert process.stdout is not None
        until(lambda: left(mark))
        process.stdout.close()
        error(process)
    assert left(mark)
    created.command(f"pkill -f {mark}")


def test_shell_around_us_killed(created: Machine) -> None:
    """DevPod 0.6.15 kills only the shell around us, and closes its ends of our pipes."""
    path = str(created.provider.path)
    env = created.provider.environment({**created.env, "COMMAND": "echo begun; exec sleep 86400"})
    process = subprocess.Popen(["sh", "-c", '"$0" command; exit $?', path], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == b"begun\n"
    ours = [int(p) for p in subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False).stdout.split()]
    assert ours
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    until(lambda: not any(Path(f"/proc/{p}").exists() for p in ours), timeout=10)


# -- Nomad 1.9.0


def test_stdin_bug_is_named(small: Machine) -> None:
    """A command that waits for the end of its stdin hangs there; who interrupts it is told why, if the node is 1.9.0."""
    sim = sim_of(small)
    hint = (
        "hint: the machine's node runs Nomad 1.9.0, where a command is not told that its stdin has ended "
        "(hashicorp/nomad#24171): upgrade it\n"
    )
    for version, wanted in (("2.0.6", ""), ("1.9.0", hint)):
        sim.exec_fault("no_stdin_close", times=1)
        sim.call(lambda c, v=version: c.node().attributes.__setitem__("nomad.version", v))  # type: ignore[misc]
        with running(small, "cat") as process:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(b"x\n")
            process.stdin.close()
            assert process.stdout.readline() == b"x\n"
            until(lambda: sim.call(lambda c: c.faults.exec_faults[-1].closes))
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            assert error(process, 130) == f"error: interrupted (SIGINT)\n{wanted}"
