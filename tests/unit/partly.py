"""Servicers that serve only what a test calls."""

from __future__ import annotations

from typing import Any, TypeVar

import grpc

S = TypeVar("S", bound=type)


async def _unserved(_self: Any, _request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED)


def partly(servicer: S) -> S:
    """Gives a servicer the unary methods that it lacks; they answer UNIMPLEMENTED."""
    generated = servicer.__mro__[1]
    for name in set(vars(generated)) - set(vars(servicer)):
        if not name.startswith("_"):
            setattr(servicer, name, _unserved)
    return servicer
