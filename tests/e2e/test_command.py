"""command: the streams and the exit code, on both Nomads; what may go wrong on the way, on the simulated one."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import LIMIT, Machine, SimCluster, sim_of

READY = len(b"\x1edpn-ready\n")
"""Bytes that come before the command's own output."""
ALL_BYTES = bytes(range(256)) * 40


# -- exit codes


def test_exit_codes(created: Machine) -> None:
    codes = (0, 1, 2, 3, 125, 126, 127, 128, 130, 143, 255)
    assert {c: created.command(f"exit {c}").code for c in codes} == {c: c for c in codes}


def test_exit_code_of_shell(created: Machine) -> None:
    """What the remote shell makes of commands that cannot run, and of signals."""
    missing = created.command("/no/such/program")
    assert (missing.code, missing.out) == (127, "")
    assert "/no/such/program" in missing.err and "not found" in missing.err
    assert created.command(": >$DEVPOD_MACHINE_DIR/f; $DEVPOD_MACHINE_DIR/f").code == 126
    assert created.command("sh -c 'kill -INT $$'").code == 130
    assert created.command("sh -c 'kill -KILL $$'").code == 137
    assert created.command("false; true").code == 0
    assert created.command("set -e; false; true").code == 1
    assert created.command("exec sh -c 'exit 9'").code == 9


# -- output


def test_stdout_and_stderr(created: Machine) -> None:
    done = created.command("printf out; printf err >&2; printf ' more'; printf ' more' >&2; exit 3")
    assert (done.code, done.out, done.err) == (3, "out more", "err more")


def test_nothing_added(created: Machine) -> None:
    done = created.command("true")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_binary(created: Machine) -> None:
    done = created.command("cat", stdin=ALL_BYTES)
    assert (done.code, done.stdout, done.stderr) == (0, ALL_BYTES, b"")
    done = created.command("cat >&2", stdin=ALL_BYTES)
    assert (done.code, done.stdout, done.stderr) == (0, b"", ALL_BYTES)


def test_looks_like_marks(created: Machine) -> None:
    """Output that begins like the marks of the protocol is output."""
    text = b"\x1edpn-ready\n\x1e" + b"0" * 32 + b":0\n\x1e\x1e\x1e" + b"f" * 31 + b"\x1e"
    done = created.command("cat; printf '\\036%032d:7\\n' 0 >&2; printf '\\036'", stdin=text)
    assert (done.code, done.stdout, done.stderr) == (0, text + b"\x1e", b"\x1e" + b"0" * 32 + b":7\n")


def test_background_process(created: Machine) -> None:
    """One that keeps the outputs open is not waited for."""
    done = created.command("sleep 86400 & echo started", timeout=20)
    assert (done.code, done.out) == (0, "started\n")


def test_frames_of_exec_hold_no_command(small: Machine) -> None:
    """The command travels over stdin: a URL ends up in access logs."""
    small.command("echo geheim-4711")
    assert not [t for t in sim_of(small).asked() if "geheim" in t]


# -- stdin


@pytest.mark.parametrize("text", ["cat", "wc -c", "sort -r"], ids=["cat", "wc", "sort"])
def test_half_close(created: Machine, text: str) -> None:
    """What needs the end of stdin gets it, and its output still comes."""
    given = b"a\nb\nc\n"
    done = created.command(text, stdin=given)
    assert done.code == 0
    assert done.out.strip() == {"cat": "a\nb\nc", "wc -c": "6", "sort -r": "c\nb\na"}[text]


def test_stdin_absent(created: Machine) -> None:
    """Closed from the start, or /dev/null: an end of file; the streams are not mixed up."""
    exe = str(created.provider.path)
    for redirect in ("<&-", "</dev/null", "<&- 2>&-"):
        env = created.provider.environment({**created.env, "COMMAND": "wc -c; echo err >&2"})
        done = subprocess.run(
            ["sh", "-c", f'exec "$0" command {redirect}', exe], env=env, capture_output=True, timeout=LIMIT
        )
        assert (done.returncode, done.stdout.strip()) == (0, b"0"), redirect
        assert done.stderr == (b"" if "2>" in redirect else b"err\n")


def test_stdout_closed(created: Machine) -> None:
    exe = str(created.provider.path)
    env = created.provider.environment({**created.env, "COMMAND": "echo out; echo err >&2; exit 4"})
    done = subprocess.run(["sh", "-c", 'exec "$0" command >&-', exe], env=env, capture_output=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (4, b"", b"err\n")


def test_stdin_stays_open(created: Machine) -> None:
    """A command that ends does not wait for the end of our stdin; DevPod keeps it open."""
    with created.popen("command", "echo one; exit 5") as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.wait(LIMIT) == 5
        assert process.stdout.read() == b"one\n"


def test_stdin_unread(created: Machine) -> None:
    """Much for a command that reads nothing."""
    done = created.command("exit 6", stdin=bytes(8 << 20))
    assert (done.code, done.out, done.err) == (6, "", "")


def test_dialogue(created: Machine) -> None:
    """What is written comes at once, not at the end."""
    with created.popen("command", 'while read -r l; do echo "<$l>"; done; echo end') as process:
        assert process.stdin is not None and process.stdout is not None
        for word in (b"one", b"two", b"three"):
            process.stdin.write(word + b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"<" + word + b">\n"
        process.stdin.close()
        assert process.stdout.read() == b"end\n"
        assert process.wait(LIMIT) == 0


def megabytes(machine: Machine) -> int:
    return 16 if machine.cluster.kind == "sim" else 128


def test_upload(created: Machine, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with data.open("wb") as out:
        for _ in range(megabytes(created)):
            out.write(os.urandom(1 << 20))
    with data.open("rb") as source:
        sent = hashlib.file_digest(source, "sha256").hexdigest()
        source.seek(0)
        done = created.command("sha256sum", stdin=source, timeout=300)
    assert (done.code, done.out, done.err) == (0, f"{sent}  -\n", "")


def test_download(created: Machine, tmp_path: Path) -> None:
    """Every byte, of a process that ends at once after the last one (#27146)."""
    file = created.dir / "data"
    with file.open("wb") as out:
        for _ in range(megabytes(created)):
            out.write(os.urandom(1 << 20))
    with file.open("rb") as source:
        wanted = hashlib.file_digest(source, "sha256").hexdigest()
    got = tmp_path / "got"
    with got.open("wb") as to:
        done = created.command("exec cat $DEVPOD_MACHINE_DIR/data", stdout=to, timeout=300)
    assert (done.code, done.err) == (0, "")
    with got.open("rb") as source:
        assert hashlib.file_digest(source, "sha256").hexdigest() == wanted


# -- a reader that goes away


def test_head(created: Machine) -> None:
    """`command yes | head -1`: it ends, and says why."""
    with created.popen("command", "yes") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(LIMIT) == 1
        assert process.stderr.read() == b"error: write stdout: Broken pipe\n"


def test_reader_gone_while_silent(created: Machine) -> None:
    """DevPod 0.6.15 kills only the shell around us: a stdout that nobody reads ends it, without output too."""
    with created.popen("command", "echo one; exec sleep 86400") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"one\n"
        process.stdout.close()
        try:
            assert process.wait(10) == 1
        finally:
            process.kill()


# -- the command


def test_odd_commands(created: Machine) -> None:
    lines = [
        r"""printf '%s\n' "a'b" 'c"d' e\\f '$HOME' '`x`' '\n' '%s' "é" '	tab'""",
        "x=1\ny=2\necho $((x + y))",
        "cat <<'END'\nhere $x\nEND\n",
        "echo one # a comment",
        "echo one; # a comment\n# another\n",
        "\n\n  echo one\n\n",
        "case x in x) echo one;; esac",
        "echo one\\\n two",
    ]
    wanted = [
        "a'b\nc\"d\ne\\f\n$HOME\n`x`\n\\n\n%s\né\n\ttab\n",
        "3\n",
        "here $x\n",
        "one\n",
        "one\n",
        "one\n",
        "one\n",
        "one two\n",
    ]
    assert [created.command(line).out for line in lines] == wanted


def test_nothing_of_ours_in_it(created: Machine) -> None:
    """No variable, argument or descriptor of the script is seen by the command."""
    assert created.command('echo "${_dpn-unset}:$#"; ls /proc/self/fd | wc -l').out == "unset:0\n4\n"


def test_long_command(created: Machine) -> None:
    words = "0123456789" * 10_000
    done = created.command(f"echo {words} | wc -c")
    assert (done.code, done.out.strip(), done.err) == (0, str(len(words) + 1), "")


def test_which_command(created: Machine) -> None:
    """The argument goes before COMMAND, that before DEVCONTAINER_COMMAND; empty is unset."""

    def out(*args: str, **env: str) -> str:
        return created.ok("command", *args, env=env).out

    both = {"COMMAND": "echo command", "DEVCONTAINER_COMMAND": "echo container"}
    assert out("echo argument", **both) == "argument\n"
    assert out(**both) == "command\n"
    assert out(COMMAND="", DEVCONTAINER_COMMAND="echo container") == "container\n"
    assert out("--", "echo argument") == "argument\n"


def test_no_command(sim: SimCluster) -> None:
    machine = sim.machine()
    wanted = "no command to run\nhint: set COMMAND, or give it as one argument\n"
    assert machine.fails("command", code=2) == wanted
    assert machine.fails("command", code=2, env={"COMMAND": ""}) == wanted
    assert sim.requests == []


def test_not_running(created: Machine) -> None:
    created.ok("stop")
    alloc = created.cluster.allocs(created.name)[-1]["ID"]
    assert created.fails("command", "true") == (
        f"the machine '{created.name}' is not running: allocation {alloc[:8]} is complete, its task dead\n"
        "hint: start it: `devpod machine start`, or `devpod up` of its workspace\n"
    )


def test_newest_allocation(created: Machine) -> None:
    created.ok("stop")
    created.ok("start")
    assert created.command("echo $NOMAD_ALLOC_ID").out.strip() == created.cluster.running(created.name)["ID"]


def test_200_times(created: Machine) -> None:
    """None lost: with plain exec 2-3% print nothing, and the end of the output may be missing."""
    if isinstance(created.cluster, SimCluster):
        created.cluster.exec_fault("spurious_exit", times=None, probability=0.1)
        created.cluster.exec_fault("lost_tail", times=None, probability=1.0)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: created.command("echo hello"), range(200)))
    assert [r for r in runs if (r.code, r.out, r.err) != (0, "hello\n", "")] == []


# -- faults of the line


def test_exit_frame_first(small: Machine) -> None:
    sim_of(small).exec_fault("exit_first", times=None)
    done = small.command("head -c 100000 /dev/zero; exit 3")
    assert (done.code, done.stdout, done.err) == (3, bytes(100_000), "")


def test_one_byte_frames(small: Machine) -> None:
    sim_of(small).exec_fault("one_byte", times=None)
    done = small.command("cat; echo err >&2; exit 7", stdin=ALL_BYTES)
    assert (done.code, done.stdout, done.err) == (7, ALL_BYTES, "err\n")


def test_large_frames(small: Machine) -> None:
    sim_of(small).exec_fault("chunk", times=None, bytes=65536)
    done = small.command("head -c 1000000 /dev/zero")
    assert (done.code, done.stdout, done.err) == (0, bytes(1_000_000), "")


def test_stdin_close_ignored(small: Machine) -> None:
    """Nomad 1.9.0 (#24171): what needs no end of stdin works."""
    sim_of(small).exec_fault("no_stdin_close", times=None)
    done = small.command("read -r l; echo $l", stdin=b"one\n")
    assert (done.code, done.out, done.err) == (0, "one\n", "")


def test_spurious_exits(small: Machine) -> None:
    """Three in a row, and each told with -v; the command runs once."""
    sim_of(small).exec_fault("spurious_exit", times=3)
    done = small.run("-v", "command", "echo x >>$DEVPOD_MACHINE_DIR/ran; echo hello")
    assert (done.code, done.out) == (0, "hello\n")
    assert len(re.findall(r"^debug: exec: try \d: .*the remote shell ended at once with code 0$", done.err, re.M)) == 3
    assert (small.dir / "ran").read_text() == "x\n"


def test_hang_before_ready(small: Machine) -> None:
    """No ready mark within some seconds: hang up, try again."""
    sim_of(small).exec_fault("hang")
    done = small.run("-v", "command", "echo hello")
    assert (done.code, done.out) == (0, "hello\n")
    assert "debug: exec: try 1: " in done.err and ": the remote shell says nothing\n" in done.err


def test_close_before_ready(small: Machine) -> None:
    """Nothing has run yet: another try."""
    sim_of(small).exec_fault("close", bytes=0, code=1011, reason="rpc error: EOF")
    done = small.run("-v", "command", "echo hello")
    assert (done.code, done.out) == (0, "hello\n")
    assert ": Nomad closed the line: rpc error: EOF\n" in done.err


def test_close_reason(small: Machine) -> None:
    """After the ready mark nothing is tried again; what came is passed on, and the reason told."""
    sim_of(small).exec_fault("close", bytes=READY + 4, code=1011, reason="rpc error: node is gone")
    done = small.command("echo x >>$DEVPOD_MACHINE_DIR/ran; printf 123456")
    assert (done.code, done.out) == (1, "1234")
    assert done.err == "error: the output may be incomplete: Nomad closed the line: rpc error: node is gone\n"
    assert (small.dir / "ran").read_text() == "x\n"


def test_close_control_characters(small: Machine) -> None:
    """What a server sends does not reach the terminal raw."""
    sim_of(small).exec_fault("close", bytes=READY + 1, code=1008, reason="\x1b[31mred\x07")
    done = small.command("echo 1")
    assert done.code == 1
    assert not set(done.stderr[:-1]) & set(range(32))


def test_cut(small: Machine) -> None:
    sim_of(small).exec_fault("cut", bytes=READY + 4)
    cluster = sim_of(small)
    done = small.command("printf 123456")
    assert (done.code, done.out) == (1, "1234")
    path = f"/v1/client/allocation/{cluster.running(small.name)['ID']}/exec"
    assert done.err == f"error: the output may be incomplete: GET {path}: {cluster.url} closed the connection\n"


def test_stopped_meanwhile(created: Machine) -> None:
    """The machine ends below a command: an error, never the code 0."""
    with created.popen("command", "echo one; exec sleep 86400") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"one\n"
        created.ok("stop")
        assert process.wait(LIMIT) in (1, 137)  # the shell's own mark may still come through
        err = process.stderr.read().decode()
        assert err.startswith("error: the output may be incomplete: ") or process.returncode == 137


def test_no_alloc_exec(make_sim: Callable[..., SimCluster]) -> None:
    """A token that may all but exec."""
    sim = make_sim(acl=True)
    sim.token("boss", management=True)
    sim.token("small", policy={"default": ["submit-job", "read-job", "read-logs"]}, node="read")
    machine = sim.machine(NOMAD_TOKEN="boss")
    machine.ok("create")
    error = machine.fails("command", "true", env={"NOMAD_TOKEN": "small"})
    alloc = sim.running(machine.name)["ID"]
    assert error.startswith(f"open a shell in allocation {alloc[:8]}: ")
    assert "Permission denied" in error
    assert "\nhint: the token needs the capability alloc-exec in this namespace" in error


def test_memory(small: Machine) -> None:
    """Bounded, whatever flows: 64 MiB each way, the reader slower than the line."""
    if small.provider.sanitized:
        pytest.skip("the sanitizer's own memory is in it")
    with small.popen("command", "head -c 67108864 >/dev/null; head -c 67108864 /dev/zero; read -r l") as process:
        assert process.stdin is not None and process.stdout is not None
        for _ in range(64):
            process.stdin.write(bytes(1 << 20))
        process.stdin.flush()
        for _ in range(64):
            assert len(process.stdout.read(1 << 20)) == 1 << 20
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.stdin.close()
        assert process.wait(LIMIT) == 1
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None and int(peak[1]) <= 16 << 10
