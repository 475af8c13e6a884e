"""`python -m sim`, in the tests directory: a simulated Nomad by hand, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from .server import Sim


def main() -> int:
    parser = argparse.ArgumentParser(prog="sim", description="A simulated Nomad; its control API is under /_sim/.")
    parser.add_argument("--listen", default="127.0.0.1:4646", metavar="HOST:PORT|PORT", help="port 0 picks a free one")
    parser.add_argument("--unix", metavar="PATH", help="serve on this unix socket instead")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve https")
    parser.add_argument("--client-ca", metavar="CA", help="with --tls: want a client certificate of this CA")
    parser.add_argument("--acl", action="store_true", help="switch ACLs on; prints a management token")
    parser.add_argument("--nodes", type=int, default=1, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--region", default="global")
    args = parser.parse_args()
    host, _, port = args.listen.rpartition(":")
    if not port.isdigit():
        parser.error(f"--listen: no port in {args.listen!r}")
    if args.client_ca and not args.tls:
        parser.error("--client-ca needs --tls")
    # handlers, not a blocked mask: that would be inherited by every task
    quit_now = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: quit_now.set())
    sim = Sim(
        nodes=args.nodes,
        seed=args.seed,
        acl=args.acl,
        host=host.strip("[]") or "127.0.0.1",
        port=int(port),
        unix=args.unix,
        tls=tuple(args.tls) if args.tls else None,
        client_ca=args.client_ca,
        region=args.region,
    )
    try:
        sim.start()
    except OSError as exc:
        print(f"sim: {exc}", file=sys.stderr)
        return 1
    try:
        print(f"sim: NOMAD_ADDR={sim.url}", flush=True)
        if args.acl:
            print(f"sim: NOMAD_TOKEN={sim.token(name='bootstrap', management=True).secret}", flush=True)
        quit_now.wait()
    finally:
        sim.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
