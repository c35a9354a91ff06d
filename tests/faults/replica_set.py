"""MongoDB as a replica set of three nodes on this host, of which some may be away."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from services.embedded.programs import mongo_server
from tests.deadline import deadline
from tests.servers import HOST, free_port

NODES = 3


class Node:
    """One mongod. The program is the one of the embedded stack, without its password."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"{HOST}:{self.port}"
        argv = mongo_server(folder, self.port, "unused").argv
        key = argv.index("--keyFile")
        self._argv = (*argv[:key], *argv[key + 2 :])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on its data."""
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def signal(self, number: signal.Signals) -> None:
        """Send SIGSTOP, and return once it has stopped, or SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)
        if number is signal.SIGSTOP:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self) -> AsyncMongoClient[dict[str, Any]]:
        """A client of this node only."""
        return AsyncMongoClient(
            f"mongodb://{self.address}/?directConnection=true", serverSelectionTimeoutMS=1000, timeoutMS=5000
        )


class ReplicaSet:
    """Three nodes. Elections take about a second."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.url = f"mongodb://{','.join(node.address for node in nodes)}/?replicaSet=topten"

    async def initiate(self) -> None:
        """Initiate the set and wait for a primary."""
        config = {
            "_id": "topten",
            "members": [{"_id": number, "host": node.address} for number, node in enumerate(self.nodes)],
            "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200},
        }
        async with deadline("the set is initiated"):
            while True:
                try:
                    async with self.nodes[0].client() as client:
                        await client.admin.command("replSetInitiate", config)
                    break
                except PyMongoError:
                    await asyncio.sleep(0.1)
            await self.primary()

    async def primary(self) -> Node:
        """Wait for a primary and return it."""
        async with deadline("the set has a primary"):
            while True:
                for node in self.nodes:
                    try:
                        async with node.client() as client:
                            if (await client.admin.command("hello")).get("isWritablePrimary"):
                                return node
                    except PyMongoError:
                        continue
                await asyncio.sleep(0.05)

    async def force(self, node: Node) -> None:
        """Make a node the only member and primary, as an operator does when the others are lost, with the data it has."""
        async with deadline("the node accepts the configuration"):
            while True:
                try:
                    async with node.client() as client:
                        config = (await client.admin.command("replSetGetConfig"))["config"]
                        config["members"] = [one for one in config["members"] if one["host"] == node.address]
                        config["version"] += 1
                        await client.admin.command({"replSetReconfig": config, "force": True})
                    break
                except PyMongoError:
                    await asyncio.sleep(0.1)
        while await self.primary() is not node:
            await asyncio.sleep(0.1)

    async def step_down(self) -> None:
        """Make the primary step down."""
        async with deadline("a primary steps down"):
            while True:
                node = await self.primary()
                try:
                    async with node.client() as client:
                        await client.admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=2, force=True)
                except PyMongoError:  # on a busy machine another node may have been elected meanwhile
                    continue
                return


@asynccontextmanager
async def replica_set() -> AsyncIterator[ReplicaSet]:
    """A set for one test or module."""
    folder = Path(tempfile.mkdtemp(prefix="topten-set-"))
    nodes = [Node(folder / str(number)) for number in range(NODES)]
    try:
        for node in nodes:
            node.start()
        initiated = ReplicaSet(nodes)
        await initiated.initiate()
        yield initiated
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)
