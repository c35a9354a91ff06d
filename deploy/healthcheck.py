"""The image's health check: is the process of this container alive? It says where on TOPTEN_*_OPS_ADDRESS.

Needs nothing but Python itself, since it is started anew every few seconds. Containers of a command have no such address
and are healthy as long as they run.
"""

import os
import sys
import urllib.request

ANY = {"0.0.0.0", "[::]"}  # noqa: S104  # what listens on every address is asked on the loopback one


def url(address: str) -> str:
    """Where an address is asked from inside of the container."""
    host, _, port = address.rpartition(":")
    return f"http://{'localhost' if host in ANY else host}:{port}/livez"


def main() -> int:
    """0 if the process answers."""
    for name, address in os.environ.items():
        if name.startswith("TOPTEN_") and name.endswith("_OPS_ADDRESS"):
            try:
                with urllib.request.urlopen(url(address), timeout=4):  # noqa: S310  # an address of this container
                    return 0
            except OSError:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
