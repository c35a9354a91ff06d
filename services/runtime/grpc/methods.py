"""What the contracts declare about each method: who may call it, and whether a call may be repeated.

Read from the options of the method's descriptor (`topten/access/v1/access.proto`, `idempotency_level`), so that servers,
clients and documentation agree. The module that a contract generates must be imported before its methods are read.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from topten.access.v1 import access_pb2

from services.runtime.auth.access import ACCOUNTS, is_known

_REPEATABLE = frozenset({MethodOptions.NO_SIDE_EFFECTS, MethodOptions.IDEMPOTENT})


class Method(NamedTuple):
    """A method of a contract. A caller needs one of the roles and scopes in `access`."""

    path: str  # `/package.Service/Method`
    access: frozenset[str]
    is_idempotent: bool
    is_unary: bool


@cache
def methods(service: str) -> dict[str, Method]:
    """The methods of `package.Service`, by name.

    Raises KeyError for an unknown service, and ValueError if a method does not declare its access and idempotency, or
    names a role or scope that does not exist.
    """
    descriptor = descriptor_pool.Default().FindServiceByName(service)
    return {method.name: _method(f"/{service}/{method.name}", method) for method in descriptor.methods}


def _method(path: str, descriptor: MethodDescriptor) -> Method:
    options = descriptor.GetOptions()
    if not options.HasExtension(access_pb2.access) or not options.HasField("idempotency_level"):
        raise ValueError(f"{path} does not declare both access and idempotency_level")
    declared = options.Extensions[access_pb2.access]
    access = (
        frozenset(declared.roles) | frozenset(declared.scopes) | (ACCOUNTS if declared.any_account else frozenset())
    )
    if unknown := sorted(name for name in access if not is_known(name)):
        raise ValueError(f"{path} admits unknown roles or scopes: {', '.join(unknown)}")
    return Method(
        path,
        access,
        is_idempotent=options.idempotency_level in _REPEATABLE,
        is_unary=not descriptor.client_streaming and not descriptor.server_streaming,
    )
