"""Passwords and keys of a new system, and the names by which a deployment passes them to processes.

Must never print one: they go into files that only their owner can read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.runtime.auth.access import OWN_SCOPES, SERVICE

# The clients of the token endpoint, and their roles.
CLIENTS: Final = {**dict.fromkeys(OWN_SCOPES, SERVICE), "operator": "admin"}


def new_password() -> str:
    """Generate a random text of at least 256 bits; letters and digits only, so that a URL can contain it."""
    return base64.b64encode(secrets.token_bytes(33), b"ab").decode()


def new_signing_key() -> str:
    """Generate an Ed25519 private key (PKCS#8 PEM)."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode()


def service_clients(passwords: dict[str, str], declared: str = "") -> str:
    """The JSON in TOPTEN_IDENTITY_SERVICE_CLIENTS: each client with its role and the digest of its password.

    `declared` is the same form for the clients of others, which are added.
    """
    ours = {
        name: {"secret_sha256": hashlib.sha256(passwords[name].encode()).hexdigest(), "roles": [role]}
        for name, role in CLIENTS.items()
    }
    return json.dumps(json.loads(declared or "{}") | ours)


def new_service_secrets() -> dict[str, str]:
    """Generate the secrets that all processes share, by the keys of the chart's Secret."""
    passwords = {name: new_password() for name in CLIENTS}
    return {
        "identity-signing-key": new_signing_key(),
        "identity-service-clients": service_clients(passwords),
        **{f"client-{name}": password for name, password in passwords.items()},
    }


def new_store_secrets() -> dict[str, str]:
    """Generate the passwords of new stores."""
    return {f"{name}-password": new_password() for name in ("mongo", "redis", "nats")} | {
        "mongo-keyfile": new_password()
    }
