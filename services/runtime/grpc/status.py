"""The status of a process, over gRPC: its clock and metrics that the caller names. Every gRPC server serves it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import prometheus_client
from topten.status.v1 import status_service_pb2 as messages
from topten.status.v1.status_service_pb2_grpc import StatusServiceServicer

from services.runtime.clock import utc_now


def samples(names: Collection[str]) -> Iterator[messages.Sample]:
    """The samples of this process with these names."""
    wanted = frozenset(names)
    for family in prometheus_client.REGISTRY.collect():
        for sample in family.samples:
            if sample.name in wanted:
                yield messages.Sample(name=sample.name, labels=sample.labels, value=sample.value)


class StatusServicer(StatusServiceServicer):
    """`topten.status.v1.StatusService`."""

    async def GetStatus(  # noqa: N802  # its name in the contract
        self, request: messages.GetStatusRequest, _context: Any
    ) -> messages.GetStatusResponse:
        """Read the clock and the requested samples."""
        response = messages.GetStatusResponse(samples=samples(request.names))
        response.timestamp.FromDatetime(utc_now())
        return response
