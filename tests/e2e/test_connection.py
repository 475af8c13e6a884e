"""The way to Nomad: TLS, sockets, authentication, namespace and region, as Nomad's own CLI takes them."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import LIMIT, Machine, SimCluster

MakeSim = Callable[..., SimCluster]
NOT_TRUSTED = (
    "\nhint: the server's certificate is not trusted: set NOMAD_CACERT to the CA's certificate, or "
    "NOMAD_TLS_SERVER_NAME when the name in it is another one\n"
)


def openssl(*args: str) -> None:
    subprocess.run(["openssl", *args], check=True, capture_output=True, timeout=LIMIT)


@dataclass
class Authority:
    """A CA of the test, with pairs signed by it: certificate and key files."""

    path: Path

    def __post_init__(self) -> None:
        self.path.mkdir()
        self.cert, self.key = self.path / "ca.pem", self.path / "ca.key"
        self._request("ca", self.key, "-x509", "-out", str(self.cert))

    def _request(self, name: str, key: Path, *args: str) -> None:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-new", *curve, "-subj", f"/CN={name}", "-keyout", str(key), *args)

    def pair(self, name: str, alt: str) -> tuple[str, str]:
        cert, key, request, extra = (self.path / f"{name}.{s}" for s in ("pem", "key", "csr", "ext"))
        self._request(name, key, "-out", str(request))
        extra.write_text(f"subjectAltName={alt}\n")
        signing = ["-CA", str(self.cert), "-CAkey", str(self.key), "-CAcreateserial", "-extfile", str(extra)]
        openssl("x509", "-req", "-in", str(request), *signing, "-out", str(cert))
        return str(cert), str(key)


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    return Authority(tmp_path / "ca")


def fails(machine: Machine, hint: str, **env: str) -> str:
    error = machine.fails("status", env=env)
    assert error.startswith(f"GET /v1/job/{machine.name}: {machine.env['NOMAD_ADDR']}: ")
    assert error.endswith(hint), error
    return error


def test_cacert(make_sim: MakeSim, ca: Authority) -> None:
    """The whole life over TLS, exec included."""
    sim = make_sim(tls=ca.pair("nomad", "IP:127.0.0.1"))
    machine = sim.machine(NOMAD_CACERT=str(ca.cert))
    done = machine.ok("init")
    assert done.err.splitlines()[0] == f"ok: Nomad answers at {sim.url} (TLS)"
    machine.ok("create")
    data = bytes(range(256)) * 8192
    done = machine.command("cat; exit 3", stdin=data)
    assert (done.code, done.stdout, done.err) == (3, data, "")
    machine.ok("delete")
    machine.nothing_left()


def test_not_trusted(make_sim: MakeSim, ca: Authority, tmp_path: Path) -> None:
    sim = make_sim(tls=ca.pair("nomad", "IP:127.0.0.1"))
    machine = sim.machine()
    fails(machine, NOT_TRUSTED)
    other = Authority(tmp_path / "other")
    fails(machine, NOT_TRUSTED, NOMAD_CACERT=str(other.cert))
    assert machine.fails("command", "true").endswith(NOT_TRUSTED)


def test_capath(make_sim: MakeSim, ca: Authority, tmp_path: Path) -> None:
    """A directory of PEM files without hashed names; NOMAD_CACERT goes before it."""
    sim = make_sim(tls=ca.pair("nomad", "IP:127.0.0.1"))
    other = Authority(tmp_path / "other")
    path = tmp_path / "certs"
    path.mkdir()
    shutil.copy(other.cert, path / "a.pem")
    shutil.copy(ca.cert, path / "b.crt")
    machine = sim.machine(NOMAD_CAPATH=str(path))
    assert machine.status() == "NotFound"
    fails(machine, NOT_TRUSTED, NOMAD_CACERT=str(other.cert))


def test_tls_server_name(make_sim: MakeSim, ca: Authority) -> None:
    """The certificate is for another name than the address."""
    sim = make_sim(tls=ca.pair("nomad", "DNS:server.global.nomad"))
    machine = sim.machine(NOMAD_CACERT=str(ca.cert))
    fails(machine, NOT_TRUSTED)
    machine.env["NOMAD_TLS_SERVER_NAME"] = "server.global.nomad"
    machine.ok("create")
    assert machine.command("echo hi").out == "hi\n"
    assert {r.headers["Host"] for r in sim.requests} == {sim.url.removeprefix("https://")}


def test_skip_verify(make_sim: MakeSim, ca: Authority) -> None:
    sim = make_sim(tls=ca.pair("nomad", "DNS:elsewhere"))
    machine = sim.machine(NOMAD_SKIP_VERIFY="true")
    done = machine.ok("init")
    assert done.err.splitlines()[0] == f"ok: Nomad answers at {sim.url} (TLS, not verified: NOMAD_SKIP_VERIFY)"
    machine.ok("create")
    assert machine.command("echo hi").out == "hi\n"


def test_client_certificate(make_sim: MakeSim, ca: Authority) -> None:
    sim = make_sim(tls=ca.pair("nomad", "IP:127.0.0.1"), client_ca=str(ca.cert))
    machine = sim.machine(NOMAD_CACERT=str(ca.cert))
    wanted = (
        "\nhint: does the server speak TLS (else write http:// in NOMAD_ADDR), and does it want a client certificate "
        "(NOMAD_CLIENT_CERT, NOMAD_CLIENT_KEY)?\n"
    )
    fails(machine, wanted)
    cert, key = ca.pair("client", "DNS:client")
    machine.env.update(NOMAD_CLIENT_CERT=cert, NOMAD_CLIENT_KEY=key)
    machine.ok("create")
    assert machine.command("echo hi").out == "hi\n"
    _, wrong = ca.pair("another", "DNS:another")
    fails(
        machine, "hint: look at NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY: both PEM, of one pair\n", NOMAD_CLIENT_KEY=wrong
    )


def test_missing_file(make_sim: MakeSim, ca: Authority, tmp_path: Path) -> None:
    """Named, with its variable."""
    sim = make_sim(tls=ca.pair("nomad", "IP:127.0.0.1"))
    cert, key = ca.pair("client", "DNS:client")
    client = {"NOMAD_CLIENT_CERT": cert, "NOMAD_CLIENT_KEY": key}
    for name in ("NOMAD_CACERT", "NOMAD_CAPATH", *client):
        env = {**(client if name in client else {}), name: f"{tmp_path}/none"}
        verb = "read directory" if name == "NOMAD_CAPATH" else "open"
        assert sim.machine().fails("status", env=env) == f"{name}: {verb} {tmp_path}/none: No such file or directory\n"


def test_wrong_scheme(make_sim: MakeSim, ca: Authority, sim: SimCluster) -> None:
    tls = make_sim(tls=ca.pair("nomad", "IP:127.0.0.1"))
    plain = tls.url.replace("https://", "http://")
    assert tls.machine(NOMAD_ADDR=plain).fails("status").startswith("GET /v1/job/")
    machine = sim.machine(NOMAD_ADDR=sim.url.replace("http://", "https://"))
    error = machine.fails("status")
    assert "\nhint: does the server speak TLS (else write http:// in NOMAD_ADDR)" in error


def test_http_to_https_server(sim: SimCluster) -> None:
    """What Go's server answers there."""
    sim.rule("^GET", status=400, body="Client sent an HTTP request to an HTTPS server.\n")
    assert (
        sim.machine()
        .fails("status")
        .endswith("HTTP 400: Client sent an HTTP request to an HTTPS server.\nhint: write https:// in NOMAD_ADDR\n")
    )


def test_unix_socket(make_sim: MakeSim, tmp_path: Path) -> None:
    sim = make_sim(unix=str(tmp_path / "api.sock"))
    machine = sim.machine()
    assert machine.env["NOMAD_ADDR"] == f"unix://{tmp_path}/api.sock"
    machine.ok("create")
    done = machine.command("cat; exit 4", stdin=b"x")
    assert (done.code, done.out) == (4, "x")
    machine.ok("delete")
    machine.nothing_left()


def test_proxy_is_not_for_loopback(make_sim: MakeSim, ca: Authority, tmp_path: Path) -> None:
    """A proxy in the environment is never used for this computer."""
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY"), "http://127.0.0.1:1")
    for sim in (make_sim(), make_sim(tls=ca.pair("nomad", "IP:127.0.0.1")), make_sim(unix=str(tmp_path / "s"))):
        assert sim.machine(NOMAD_CACERT=str(ca.cert), **proxies).status() == "NotFound"


def test_token_namespace_region(make_sim: MakeSim) -> None:
    """On every request of every command, exec and logs included."""
    sim = make_sim(acl=True)
    sim.add_namespace("team")
    sim.token("boss", management=True)
    machine = sim.machine(NOMAD_TOKEN="boss", NOMAD_NAMESPACE="team", NOMAD_REGION="global")
    for args in (["init"], ["create"], ["status"], ["command", "true"], ["stop"], ["start"], ["delete"]):
        machine.ok(*args)
    kinds = {r.path.split("/")[2] for r in sim.requests}
    assert kinds == {"status", "acl", "namespace", "nodes", "node", "job", "jobs", "evaluation", "allocation", "client"}
    for request in sim.requests:
        assert request.token == "boss", request
        assert (request.query.get("namespace"), request.query.get("region")) == ("team", "global"), request


def test_http_auth(sim: SimCluster) -> None:
    machine = sim.machine(NOMAD_HTTP_AUTH="someone:pass:word")
    machine.ok("create")
    machine.ok("command", "true")
    wanted = "Basic " + base64.b64encode(b"someone:pass:word").decode()
    assert {r.headers.get("Authorization") for r in sim.requests} == {wanted}


def test_namespaces_are_apart(sim: SimCluster) -> None:
    """Machines of one name in two namespaces are two machines."""
    sim.add_namespace("team")
    one = sim.machine()
    two = sim.machine(
        one.name, NOMAD_NAMESPACE="team", NOMAD_HOST_DIR=f"{sim.host_dir}2", MACHINE_FOLDER=f"{one.folder}2"
    )
    one.ok("create")
    assert two.status() == "NotFound"
    Path(two.env["MACHINE_FOLDER"]).mkdir()
    two.ok("create")
    one.ok("delete")
    assert two.status() == "Running"


def test_host_unknown(sim: SimCluster) -> None:
    machine = sim.machine(NOMAD_ADDR="http://nomad.invalid:4646")
    fails(machine, "\nhint: NOMAD_ADDR is http://nomad.invalid:4646: is the host name right, and is the VPN up?\n")


def test_user_in_the_address(sim: SimCluster) -> None:
    """Refused, and the password not shown."""
    error = sim.machine().fails("status", env={"NOMAD_ADDR": "http://u:5ecret@127.0.0.1:4646"})
    assert error.startswith("NOMAD_ADDR: holds a user or a password; those go into NOMAD_HTTP_AUTH\n")
    assert "5ecret" not in error
