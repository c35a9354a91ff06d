"""Health of a gRPC server (`grpc.health.v1`), which is served without a token.

What strangers name takes nothing: a service that does not exist is answered at once, and the streams are limited.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2

# Load balancers hold one per connection.
MAX_WATCHES: Final = 200
Context = grpc.aio.ServicerContext[Any, Any]


class HealthServicer(health.aio.HealthServicer):  # type: ignore[misc]  # the library has no types
    """Answers for the empty name and for the given services, which never change."""

    def __init__(self, services: Iterable[str]) -> None:
        super().__init__()
        self._names = frozenset(("", *services))
        self._watches = 0

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802  # gRPC's name
        """Send the status of a service whenever it changes. For an unknown one, send SERVICE_UNKNOWN and end.

        RESOURCE_EXHAUSTED beyond 200 streams.
        """
        if request.service not in self._names:
            await context.write(health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN))
            return
        if self._watches >= MAX_WATCHES:
            message = f"Limit reached: {MAX_WATCHES} streams of health per server. Use Check, or try again later."
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        self._watches += 1
        try:
            await super().Watch(request, context)
        finally:
            self._watches -= 1
