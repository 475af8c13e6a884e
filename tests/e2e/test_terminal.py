"""command on a terminal: raw mode and its end, keys, size, signals, whole-screen programs; through a pty, a shell, tmux."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import select
import shlex
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import LIMIT, SANITIZER, Machine, SimCluster, until

OURS = "DPN_E2E_TTY"


class Terminal:
    """A pty, and the one process that has it as its controlling terminal."""

    def __init__(self, argv: list[str], env: dict[str, str], rows: int = 33, columns: int = 101) -> None:
        self.out = b""
        self.seen = 0
        self.code: int | None = None
        self.master, self.slave = os.openpty()
        self.resize(rows, columns)
        self.before = self.modes()
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                os.setsid()
                fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
                for fd in range(3):
                    os.dup2(self.slave, fd)
                os.closerange(3, 256)
                os.execve(argv[0], argv, env)
            os._exit(98)

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def foreground(self) -> int:
        """The process group in the foreground; only the master tells it to others than its session."""
        return os.tcgetpgrp(self.master)

    @property
    def raw(self) -> bool:
        return not self.modes()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def read(self, seconds: float = 0.05) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.out += os.read(self.master, 1 << 16)
        return True

    def expect(self, text: bytes | str, timeout: float = LIMIT) -> bytes:
        """Wait until it is printed, after what was expected before. Return: what came up to it."""
        text = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + timeout
        while (at := self.out.find(text, self.seen)) < 0:
            assert time.monotonic() < deadline, f"no {text!r} in {self.out[self.seen :]!r}"
            if not self.read() and self.ended():
                while self.read(0.1):
                    pass
                assert text in self.out[self.seen :], (
                    f"ended with {self.code}, no {text!r} in {self.out[self.seen :]!r}"
                )
        before, self.seen = self.out[self.seen : at], at + len(text)
        return before

    def type(self, keys: bytes | str) -> None:
        os.write(self.master, keys.encode() if isinstance(keys, str) else keys)

    def ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def end(self, timeout: float = LIMIT) -> int:
        """Its exit code; all that it wrote is in out."""
        deadline = time.monotonic() + timeout
        while not self.ended():
            self.read()
            assert time.monotonic() < deadline, f"it hangs: {self.out!r}"
        while self.read(0.1):  # the kernel hands it over a little later
            pass
        assert self.code is not None and self.code != SANITIZER, self.out
        return self.code

    def close(self) -> None:
        if not self.ended():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)
        os.close(self.slave)


@contextlib.contextmanager
def terminal(
    machine: Machine, command: str, *args: str, env: dict[str, str] | None = None, **more: Any
) -> Iterator[Terminal]:
    """The executable on a terminal."""
    path = str(machine.provider.path)
    values = machine.provider.environment({"TERM": "xterm-256color", **machine.env, "COMMAND": command, **(env or {})})
    term = Terminal([path, *args, "command"], values, **more)
    try:
        yield term
    finally:
        term.close()


@contextlib.contextmanager
def shell(machine: Machine, **env: str) -> Iterator[Terminal]:
    """An interactive shell on a terminal, with job control."""
    if not shutil.which("bash"):
        pytest.skip("no bash here")
    values = machine.provider.environment({"TERM": "xterm", **machine.env, "PS1": "ready> ", **env})
    term = Terminal(["/bin/bash", "--norc", "--noprofile", "--noediting", "-i"], values)
    term.expect("ready> ")
    try:
        yield term
    finally:
        term.close()


def whole(machine: Machine, command: str, **more: Any) -> tuple[int, str]:
    with terminal(machine, command, **more) as term:
        code = term.end()
        assert term.modes() == term.before
        return code, term.out.decode()


def gone(machine: Machine, pid: str | bytes) -> None:
    """That process of the machine has ended, within seconds."""
    text = pid.decode() if isinstance(pid, bytes) else pid
    until(lambda: machine.command(f"kill -0 {text} 2>/dev/null").code != 0, timeout=10)


def left(token: str) -> list[str]:
    """Processes, in whatever container, that have the token in their arguments."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if token.encode() in entry.read_bytes():
                found.append(entry.parent.name)
    return found


def stopped(token: str) -> bool:
    """Job control has stopped the process with the token."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{left(token)[0]}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def token() -> str:
    """For sleep: an unusual number of seconds."""
    return f"86400.{secrets.randbelow(10**9):09}"


# -- a command


def test_both_terminals(created: Machine) -> None:
    """The output is the command's and nothing else; stderr is the same terminal."""
    command = "test -t 0 && test -t 1 && test -t 2 && echo out && echo err >&2; exit 7"
    assert whole(created, command) == (7, "out\r\nerr\r\n")
    assert whole(created, "printf x") == (0, "x")


def test_exit_codes(created: Machine) -> None:
    for command, code in {
        "exit 255": 255,
        "exec sh -c 'exit 9'": 9,
        "sh -c 'kill -KILL $$'": 137,
        "kill -INT $$; sh -c 'kill -INT $$'": 130,
    }.items():
        assert whole(created, command)[0] == code, command


def test_one_terminal_is_none(created: Machine, tmp_path: Path) -> None:
    """Output to a file or input from one: the command has no terminal."""
    path = shlex.quote(str(created.provider.path))
    with shell(created) as term:
        for at, redirect in enumerate((f">{tmp_path}/out", "</dev/null")):
            term.type(f"{path} command 'test -t 0 || test -t 1 || echo none' {redirect} | cat; echo end-$((40+{at}))\r")
            term.expect(f"end-{40 + at}")
        term.type("exit\r")
    assert (tmp_path / "out").read_text() == "none\n"
    assert term.out.count(b"none\r\n") == 1


def test_term_and_size(created: Machine) -> None:
    """TERM and the size go over; they are right from the first program on. Of the rest of the environment nothing is."""
    command = "stty size; echo $TERM ${%s-none}" % OURS
    assert whole(created, command, env={"TERM": "screen-256color", OURS: "x"}) == (
        0,
        "33 101\r\nscreen-256color none\r\n",
    )
    for odd in ("$(id)", "a b", "x" * 65, "xterm;", "é"):
        assert whole(created, "echo $TERM", env={"TERM": odd}) == (0, "xterm\r\n"), odd


def test_resize(created: Machine) -> None:
    with terminal(created, "trap 'stty size' WINCH; echo go; while :; do sleep 0.05; done") as term:
        term.expect("go\r\n")
        for rows, columns in ((50, 132), (24, 80)):
            term.resize(rows, columns)
            term.expect(f"{rows} {columns}\r\n")
        term.type(b"\x03")
        assert term.end() == 130


def test_keys(created: Machine) -> None:
    """In raw mode each goes over as it is, those that would be signals here too."""
    with terminal(created, "stty raw -echo; printf ready; head -c 9 | od -An -tx1; exit 5") as term:
        term.expect("ready")
        assert term.raw
        term.type(b"\x03\x1a\x1c\x04\x11\x13\r\n\xff")
        assert term.end() == 5
        assert term.out[term.seen :].split() == b"03 1a 1c 04 11 13 0d 0a ff".split()
        assert term.modes() == term.before


def test_interrupt_key(created: Machine) -> None:
    """^C is for the program, which may have its own thoughts about it."""
    # who says go is the one to be ended: a shell that traps ^C would go on to its next command
    sleeper = "sh -c 'echo go; exec sleep 86400'"
    with terminal(created, f"trap 'echo caught' INT; {sleeper}; echo after; exit 4") as term:
        term.expect("go\r\n")
        term.type(b"\x03")
        term.expect("caught\r\n")
        term.expect("after\r\n")
        assert term.end() == 4
    with terminal(created, sleeper) as term:
        term.expect("go\r\n")
        term.type(b"\x03")
        assert term.end() == 130


def test_line_and_end_of_file(created: Machine) -> None:
    """The machine's line discipline edits, echoes, and makes an end of file of ^D."""
    with terminal(created, 'read -r l; echo "<$l>"; cat; echo end; exit 3') as term:
        term.type("twp\x7fo\r")
        term.expect("<two>\r\n")
        term.type("line\r\x04")
        term.expect("line\r\nline\r\nend\r\n")
        assert term.end() == 3


def test_typed_ahead(created: Machine) -> None:
    with terminal(created, 'read -r a; read -r b; echo "<$a$b>"') as term:
        term.type("one\rtwo\r")
        term.expect("<onetwo>\r\n")
        assert term.end() == 0


def test_long_command(created: Machine) -> None:
    """A terminal cuts a line at 4095 bytes; the command goes over in shorter ones."""
    words = "0123456789" * 10_000
    assert whole(created, f"printf %s {words} | wc -c") == (0, "100000\r\n")


def test_odd_command(created: Machine) -> None:
    """What the line discipline would act on, what printf would, and UTF-8."""
    odd = "".join(chr(c) for c in range(1, 32) if c != 0) + "\x7f\\n\\0101%s é🙂"
    code, out = whole(created, f"printf %s '{odd}' | od -An -v -tx1")
    assert (code, "".join(out.split())) == (0, odd.encode().hex())


def test_colours(created: Machine) -> None:
    text = "\x1b[1;31mré🙂\x1b[0m\x1b]0;title\x07"
    assert whole(created, f"printf %s '{text}'") == (0, text)


def test_large_output(created: Machine) -> None:
    """Every byte, of a process that ends at once after the last one."""
    code, out = whole(created, "seq 1 200000")
    assert code == 0
    assert out == "".join(f"{i}\r\n" for i in range(1, 200001))


@pytest.mark.parametrize(
    "odd", ["raw", "-opost", "olcuc", "-icanon min 0 time 0", "-isig inlcr", "igncr", "tostop -echo"]
)
def test_odd_modes(created: Machine, odd: str) -> None:
    """Programs that leave the machine's terminal as it should not be left."""
    code, _ = whole(created, f"stty {odd}; printf x; exit 6")
    assert code == 6


def test_own_group_in_the_foreground(created: Machine) -> None:
    """A shell with job control that is killed leaves its own group in the foreground."""
    with terminal(created, "bash --norc -ic 'sleep 0.1; kill -KILL $$'; stty tostop; exit 8") as term:
        assert term.end() == 8


def test_interactive_shell(created: Machine) -> None:
    mark = token()
    prompt = "# " if os.geteuid() == 0 else "$ "
    with terminal(created, "exec bash --norc --noprofile --noediting -i", env={"TERM": "dumb"}) as term:
        term.expect(prompt)
        term.type("echo $$ $((6*7))\r")
        pid = term.expect(" 42\r\n").split()[-1]
        term.type(f"sleep {mark}\r")
        until(lambda: left(mark))  # the shell makes it the foreground before it is sleep
        term.type(b"\x1a")  # job control is that shell's
        term.expect("Stopped")
        term.expect(prompt)
        assert stopped(mark)
        term.type("fg\r")
        until(lambda: not stopped(mark))  # likewise before it is continued
        term.type(b"\x03")
        term.expect("^C")
        term.expect(prompt)
        term.type("exit 11\r")
        assert term.end() == 11
    gone(created, pid)


# -- our own end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals(created: Machine, number: signal.Signals) -> None:
    """128 + signal, the modes as before; the machine's terminal is hung up, so nothing stays there."""
    mark = token()
    with terminal(created, f"stty raw -echo; echo go $$; sleep {mark}") as term:
        term.expect("go ")
        pid = term.expect("\n").strip()
        until(lambda: term.raw and left(mark))
        os.kill(term.pid, number)
        assert term.end() == 128 + number
        assert term.modes() == term.before
        assert term.out[term.seen :].endswith(f"error: interrupted ({number.name})\r\n".encode())
    until(lambda: not left(mark), timeout=10)
    gone(created, pid)


def test_nothing_left(created: Machine) -> None:
    """After an end in good order not even the script is there."""
    with terminal(created, "echo $$") as term:
        pid = term.expect("\r\n")
        assert term.end() == 0
    gone(created, pid)


@pytest.mark.parametrize(
    "number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGQUIT, signal.SIGUSR1]
)
def test_crash(created: Machine, number: signal.Signals) -> None:
    """The modes are restored, and it is the signal that ends us (or ASan's handler that is called)."""
    mark = token()
    with terminal(created, f"echo go; sleep {mark}") as term:
        term.expect("go")
        until(lambda: term.raw and left(mark))
        os.kill(term.pid, number)
        until(term.ended)
        assert term.code in (-number, SANITIZER if created.provider.sanitized else -number)
        assert term.modes() == term.before
    for pid in left(mark):  # nobody told the machine
        os.kill(int(pid), signal.SIGKILL)


def test_interrupt_before_it_runs(sim: SimCluster) -> None:
    """Until the command runs ^C is ours."""
    machine = sim.machine()
    machine.ok("create")
    sim.exec_fault("hang", times=None)
    with terminal(machine, "true") as term:
        sim.wait_request("GET /v1/client/allocation/.*/exec")
        assert not term.raw
        term.type(b"\x03")
        assert term.end() == 130
        assert term.modes() == term.before


def test_line_breaks(sim: SimCluster) -> None:
    """An error restores the terminal too, and is readable."""
    machine = sim.machine()
    machine.ok("create")
    sim.exec_fault("close", bytes=5000, code=1011, reason="rpc error: EOF")
    with terminal(machine, "seq 1 100000; sleep 86400") as term:
        assert term.end() == 1
        assert term.out.endswith(b"error: the output may be incomplete: Nomad closed the line: rpc error: EOF\r\n")
        assert term.modes() == term.before


# -- job control


def test_suspend(created: Machine) -> None:
    """SIGTSTP from outside, then fg: modes, size and the command are there again."""
    path = shlex.quote(str(created.provider.path))
    # the trap ends dash's read
    command = "trap 'stty size' WINCH; echo go; while :; do read -r l && echo \"<$l>\" && [ $l = end ] && exit 12; done"
    with shell(created) as term:
        modes = term.modes()
        term.type(f"{path} command {shlex.quote(command)}\r")
        term.expect("\ngo\r\n")
        until(lambda: term.raw)
        group = term.foreground()
        os.kill(group, signal.SIGTSTP)
        term.expect("Stopped")
        term.expect("ready> ")
        assert not term.raw
        term.resize(40, 90)
        term.type("stty -a | tr ';' '\\n' | head -3; echo in-the-shell\r")
        term.expect("\nin-the-shell")
        term.expect("ready> ")
        term.type("fg\r")
        until(lambda: term.raw)

        def told() -> bool:  # a trap waits for the next key when its signal comes right before read
            term.type("\r")
            term.read(0.1)
            return b"40 90\r\n" in term.out[term.seen :]

        until(told)
        term.type("x\r")
        term.expect("<x>\r\n")
        term.type("end\r")
        term.expect("ready> ")
        assert term.modes() == modes
        term.type("echo code-$?\r")
        term.expect("\ncode-12\r\n")


def test_stopped_hard_and_background(created: Machine) -> None:
    """SIGSTOP cannot be caught; the shell has its own modes. Continued in the background it waits for its turn."""
    path = shlex.quote(str(created.provider.path))
    with shell(created) as term:
        term.type(f"{path} command 'echo go; read -r l; exit 13'\r")
        term.expect("\ngo\r\n")
        until(lambda: term.raw)
        os.kill(term.foreground(), signal.SIGSTOP)
        term.expect("Stopped")
        term.expect("ready> ")
        term.type("bg\r")
        term.expect("ready> ")
        until(lambda: "T" in states(term.pid))  # it wants the terminal: SIGTTOU
        assert not term.raw
        term.type("echo still-a-shell\r")
        term.expect("\nstill-a-shell\r\n")
        term.expect("ready> ")
        term.type("fg\r")
        until(lambda: term.raw)
        term.type("x\r")
        term.expect("ready> ")
        term.type("echo code-$?\r")
        term.expect("\ncode-13\r\n")


def test_started_in_the_background(created: Machine) -> None:
    """It waits for its turn: SIGTTOU, or SIGTTIN, stops it; fg lets it go on."""
    path = shlex.quote(str(created.provider.path))
    with shell(created) as term:
        term.type(f"{path} command 'echo go; read -r l; exit 14' &\r")
        until(lambda: "T" in states(term.pid))
        assert not term.raw
        term.type("fg\r")
        term.expect("go\r\n")
        until(lambda: term.raw)
        term.type("x\r")
        term.expect("ready> ")
        term.type("echo code-$?\r")
        term.expect("\ncode-14\r\n")


def states(parent: int) -> list[str]:
    done = subprocess.run(["ps", "-o", "stat=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [line.strip()[:1] for line in done.stdout.splitlines()]


# -- whole-screen programs

SCREEN = r"""
printf '\033[?1049h\033[2J'
old=$(stty -g); stty -icanon -echo
draw() { set -- $(stty size); printf '\033[H\033[2K%s lines, %s columns, last key: %s' "$1" "$2" "$key"; }
trap draw WINCH
key=none; draw
while key=$(dd bs=1 count=1 2>/dev/null); do draw; [ "$key" = q ] && break; done
stty "$old"; printf '\033[?1049l'; exit 21
"""


def test_own_screen_program(created: Machine) -> None:
    with terminal(created, SCREEN) as term:
        term.expect("33 lines, 101 columns, last key: none")
        term.type("a")
        term.expect("last key: a")
        term.resize(20, 70)

        def there() -> bool:  # sizes and keys go side by side: see test_tmux
            term.type("b")
            term.read(0.1)
            return b"20 lines, 70 columns, last key: b" in term.out

        until(there)
        term.type("q")
        assert term.end() == 21
        assert term.out.endswith(b"\x1b[?1049l")
        assert term.modes() == term.before


def needs(machine: Machine, program: str) -> None:
    if machine.command(f"command -v {program}").code:
        pytest.skip(f"no {program} in the machine's image")


def test_top(created: Machine) -> None:
    needs(created, "top")
    with terminal(created, "top -d 0.3") as term:
        term.expect("PID")
        term.type("q")
        assert term.end() == 0
        assert term.modes() == term.before


def shows(term: Terminal, keys: str, text: str) -> None:
    """Type the keys until the text is there: a new size may come after keys that were typed later."""

    def there() -> bool:
        term.type(keys)
        term.read(0.1)
        return text.encode() in term.out[term.seen :]

    until(there)


def test_htop(created: Machine) -> None:
    needs(created, "htop")
    with terminal(created, "htop") as term:
        term.expect("\x1b[33;")  # the last line of the screen
        term.resize(20, 70)
        shows(term, " ", "\x1b[20;")
        term.type("q")
        assert term.end() == 0
        assert term.modes() == term.before


def test_less(created: Machine) -> None:
    needs(created, "less")
    with terminal(created, "seq 1 1000 | LESS= less") as term:
        term.expect("32\r\n")
        term.type("G")
        term.expect("1000")
        term.resize(11, 70)
        shows(term, "g=", "lines 1-10")
        term.type("/77\r")
        term.type("q")
        assert term.end() == 0
        assert term.modes() == term.before


def test_vi(created: Machine) -> None:
    needs(created, "vi")
    file = created.dir / "typed"
    with terminal(created, "vi -u NONE $DEVPOD_MACHINE_DIR/typed") as term:
        term.expect("~")
        term.resize(20, 70)
        shows(term, ":set columns?\r", "columns=70")  # vim.tiny has no more
        term.type("ihello\x1b:wq\r")
        assert term.end() == 0
        assert term.modes() == term.before
    assert file.read_text() == "hello\n"


# -- tmux


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Any]:
    exe = shutil.which("tmux")
    if not exe:
        pytest.skip("no tmux here")
    sock = tmp_path / "tmux"

    def call(*args: str) -> str:
        done = subprocess.run(
            [exe, "-S", str(sock), "-f", "/dev/null", *args], capture_output=True, text=True, timeout=LIMIT, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield call
    with contextlib.suppress(AssertionError):
        call("kill-server")


def test_tmux(created: Machine, tmux: Any, tmp_path: Path) -> None:
    """A screen as a user sees it; its size is changed; afterwards the terminal is a terminal."""
    script = tmp_path / "run"
    env = created.provider.environment(created.env)
    lines = [f"export {k}={shlex.quote(v)}" for k, v in env.items()]
    run = f"{shlex.quote(str(created.provider.path))} command {shlex.quote(SCREEN)}"
    # the code is printed: tmux does not always come to know what a dead pane ended with
    script.write_text("\n".join([*lines, run, "echo code-$?", "read -r l", 'echo "<$l>"', "read -r l", ""]))
    tmux("new-session", "-d", "-s", "x", "-x", "90", "-y", "30", "sh", str(script))

    def shows(pattern: str, press: str = "") -> None:
        screen = [""]

        def there() -> bool:
            if press:
                tmux("send-keys", "-t", "x", press)
            screen[0] = tmux("capture-pane", "-p", "-t", "x")
            return re.search(pattern, screen[0]) is not None

        try:
            until(there)
        except AssertionError:
            raise AssertionError(f"no {pattern!r} on the screen:\n{screen[0]}") from None

    shows(r"30 lines, 90 columns, last key: none")
    tmux("send-keys", "-t", "x", "z")
    shows(r"30 lines, 90 columns, last key: z")
    tmux("resize-window", "-t", "x", "-x", "70", "-y", "20")
    # Nomad carries sizes and keys side by side, and dash's trap waits for a key
    shows(r"20 lines, 70 columns, last key: y", press="y")
    tmux("send-keys", "-t", "x", "q")
    shows(r"code-21\n")
    tmux("send-keys", "-t", "x", "twp", "BSpace", "o", "Enter")  # the line discipline is there again
    shows(r"two\n<two>\n")


def test_terminal_closed(created: Machine, tmux: Any, tmp_path: Path) -> None:
    """The window goes away: nothing stays, here or in the machine."""
    mark = token()
    script = tmp_path / "run"
    env = created.provider.environment(created.env)
    env["COMMAND"] = f"sleep {mark}"  # not among the arguments: the mark is to be seen in the machine only
    lines = [f"export {k}={shlex.quote(v)}" for k, v in env.items()]
    script.write_text("\n".join([*lines, f"exec {shlex.quote(str(created.provider.path))} command", ""]))
    tmux("new-session", "-d", "-s", "x", "sh", str(script))
    until(lambda: left(mark))
    ours = tmux("list-panes", "-t", "x", "-F", "#{pane_pid}").strip()
    tmux("kill-session", "-t", "x")
    until(lambda: not left(mark) and not Path(f"/proc/{ours}").exists(), timeout=15)
