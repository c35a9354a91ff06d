"""A NATS server for measurements, with a choice of when it syncs."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.embedded.programs import nats_server
from services.runtime.process.lifecycle import wait_for
from tests.servers import free_port


@asynccontextmanager
async def stream_server(*, always: bool) -> AsyncIterator[str]:
    """Run a NATS server that syncs each write before it acknowledges it, or every two minutes."""
    with tempfile.TemporaryDirectory(prefix="topten-nats-") as folder:
        program = nats_server(Path(folder), free_port(), "bench")
        config = Path(program.argv[-1])
        if not always:
            config.write_text(config.read_text().replace("sync_interval: always", "sync_interval: 2m"))
        process = await asyncio.create_subprocess_exec(*program.argv, stderr=asyncio.subprocess.DEVNULL)
        try:
            await wait_for("nats", program.ready, retry_on=Exception)
            yield program.url
        finally:
            process.kill()
            await process.wait()
