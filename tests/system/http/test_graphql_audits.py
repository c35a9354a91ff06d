"""GraphQL over HTTP by its authors' own audits, from the npm package graphql-http."""

from __future__ import annotations

import asyncio

from tests.node import run_script
from tests.servers import RunningStack


async def test_every_audit_of_graphql_over_http_passes(stack: RunningStack) -> None:
    results = await asyncio.to_thread(run_script, "audits.mjs", f"{stack.http}/graphql")
    assert len(results) >= 61
    failed = [result for result in results if result["status"] != "ok"]
    assert not failed, "\n".join(f"{result['name']}: {result['reason']}" for result in failed)
