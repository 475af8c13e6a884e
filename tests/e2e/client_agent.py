"""A second Nomad client on this computer, in a node pool of the caller's, for what nobody should do to the only one."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from harness import LIMIT, Json, NomadCluster, until

CONFIG = """
name       = "{name}"
bind_addr  = "127.0.0.1"
data_dir   = "{data}"
advertise {{
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}}
ports {{
  http = {port}
}}
client {{
  enabled   = true
  node_pool = "{pool}"
  servers   = ["{server}"]
  options   = {{
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,consul,vault"
  }}
}}
plugin "docker" {{
  config {{
    allow_privileged = true
    volumes {{
      enabled = true
    }}
    gc {{
      image = false
      # the docker is the other client's too, and so are containers in it
      dangling_containers {{
        enabled = false
      }}
    }}
  }}
}}
"""


class ClientAgent:
    def __init__(self, nomad: NomadCluster, tmp: Path, pool: str) -> None:
        program = shutil.which("nomad")
        if not program or os.geteuid() != 0:
            pytest.skip("no nomad on PATH, or not root: no second client")
        self.nomad = nomad
        self.name = f"e2e-{secrets.token_hex(4)}"
        self.pool = pool
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = f"{urllib.parse.urlsplit(nomad.url).hostname}:4647"
        home = tmp / self.name
        home.mkdir()
        config = home / "client.hcl"
        config.write_text(CONFIG.format(name=self.name, pool=pool, data=home / "data", port=port, server=server))
        self.log = (home / "log").open("wb")
        self.process = subprocess.Popen([program, "agent", f"-config={config}"], stdout=self.log, stderr=self.log)
        self.id = until(self._ready)

    def _ready(self) -> str:
        assert self.process.poll() is None, Path(self.log.name).read_text()[-3000:]
        _, nodes = self.nomad.http("GET", "/v1/nodes")
        docker = [n for n in nodes if n["Name"] == self.name and n["Status"] == "ready" and "docker" in n["Drivers"]]
        return str(docker[0]["ID"]) if docker and docker[0]["Drivers"]["docker"]["Healthy"] else ""

    def drain(self) -> None:
        """Now, and for good; nomad node drain -enable -force."""
        self._put("drain", {"NodeID": self.id, "DrainSpec": {"Deadline": -1, "IgnoreSystemJobs": False}})

    def eligible(self) -> None:
        self._put("eligibility", {"NodeID": self.id, "Eligibility": "eligible"})

    def _put(self, what: str, body: Json) -> None:
        url = f"{self.nomad.url}/v1/node/{self.id}/{what}"
        request = urllib.request.Request(url, json.dumps(body).encode(), method="PUT")
        with urllib.request.urlopen(request, timeout=LIMIT):
            pass

    def close(self) -> None:
        """Its node is forgotten too."""
        self.process.terminate()
        self.process.wait(LIMIT)
        self.log.close()
        self._put("purge", {})
