"""Writes that fail if the data is no longer the one that was read before.

A collection that is dropped, or replaced by a rename or `$out`, has another UUID afterwards. A write names the UUID, which
the server compares in the same step. So everything read from a collection after its UUID is still valid when a write with that
UUID succeeds, even if the process was frozen in between.

A server that restarts with older files, and another primary, keep the UUIDs. `DataIdentity.primary` tells these apart, but
no write can name it: compare it before and after a write.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure, WriteConcernError
from pymongo.topology_description import TopologyDescription

from services.runtime.stores.data_identity import DataIdentity

_UUID_MISMATCH = 361
_DURABLE = {"w": "majority", "j": True}


class CollectionReplacedError(RuntimeError):
    """The collection is not the one that was read. Nothing was written."""


class SameData:
    """The identity of some collections of a database, and writes to them. Driver errors pass through."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], *collections: str) -> None:
        self._database = database
        self._names = collections
        self._uuids: Mapping[str, bytes] = {}
        self._topology: TopologyDescription | None = None  # of which the last identity is
        self._last = DataIdentity({}, "")

    @property
    def identity(self) -> DataIdentity:
        """The identity as it was last read. Take it before the reads on which a later write is based."""
        topology = self._database.client.topology_description  # another object after every change
        if topology is not self._topology or self._last.collections is not self._uuids:
            self._topology, self._last = topology, DataIdentity(self._uuids, _primary(topology))
        return self._last

    async def identify(self, confirm: Callable[[], Awaitable[None]] | None = None) -> None:
        """Read the identity again. The collections must exist. Anything cached under the former identity is invalid.

        `confirm` is called before the new identity counts. If it raises, writes go on naming the former one.
        """
        found = await self._database.list_collections(filter={"name": {"$in": list(self._names)}})
        uuids = {one["name"]: one["info"]["uuid"] async for one in found}
        if confirm is not None:
            await confirm()
        self._uuids = uuids

    async def write(self, command: str, name: str, identity: DataIdentity, **fields: Any) -> Mapping[str, Any]:
        """Run insert or update with majority and journal, and return the reply, in which documents may have failed.

        Uses the command directly: the methods of a collection cannot name its UUID. It is not sent again after a lost
        connection. Raises CollectionReplacedError, and the driver's error if the outcome is unknown.
        """
        uuid = {"collectionUUID": identity.collections[name]} if name in identity.collections else {}
        try:
            reply: Mapping[str, Any] = await self._database.command(
                {command: name, **fields, **uuid, "writeConcern": _DURABLE}
            )
        except OperationFailure as error:
            if error.code == _UUID_MISMATCH:
                raise CollectionReplacedError(name) from error
            raise
        if any(failure["code"] == _UUID_MISMATCH for failure in reply.get("writeErrors", ())):
            raise CollectionReplacedError(name)
        if "writeConcernError" in reply:
            failure = reply["writeConcernError"]
            raise WriteConcernError(failure.get("errmsg", ""), failure.get("code"), failure)
        return reply


def _primary(topology: TopologyDescription) -> str:
    for server in topology.server_descriptions().values():
        if server.server_type_name == "RSPrimary":
            run = (server.topology_version or {}).get("processId", "")
            return f"{run}/{server.election_id or ''}"
    return ""
