"""Passwords and keys of a new system: how they are made, and under which names a deployment hands them out.

Must never print one: they go into files of their owner alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.runtime.access import OWN_SCOPES, SERVICE

# Who calls other services in its own name, and as what.
CLIENTS: Final = {**dict.fromkeys(OWN_SCOPES, SERVICE), "operator": "admin"}


def new_password() -> str:
    """A random text of 256 bits and more, letters and digits alone, so that it stands in a URL as it is."""
    return base64.b64encode(secrets.token_bytes(33), b"ab").decode()


def new_signing_key() -> str:
    """An Ed25519 private key (PKCS#8 PEM)."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode()


def service_clients(passwords: dict[str, str]) -> str:
    """What identity reads: JSON of who may buy a service token, and as what; of passwords the digests alone."""
    return json.dumps(
        {
            name: {"secret_sha256": hashlib.sha256(passwords[name].encode()).hexdigest(), "roles": [role]}
            for name, role in CLIENTS.items()
        }
    )


def new_service_secrets() -> dict[str, str]:
    """All that the processes of a new system need to trust one another, by the names of the chart's Secret."""
    passwords = {name: new_password() for name in CLIENTS}
    return {
        "identity-signing-key": new_signing_key(),
        "identity-service-clients": service_clients(passwords),
        **{f"client-{name}": password for name, password in passwords.items()},
    }


def new_store_secrets() -> dict[str, str]:
    """Passwords for new stores."""
    return {f"{name}-password": new_password() for name in ("mongo", "redis", "nats")} | {
        "mongo-keyfile": new_password()
    }
