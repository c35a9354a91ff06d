"""Is a system well? Each line of a check-up is a fact, and names its runbook if it is not as it should be.

Asks the processes for what they say of themselves, and the stores where their addresses are known. Changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import nats
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from pymongo import DESCENDING, AsyncMongoClient
from pymongo.errors import PyMongoError

from services.local.said import Said, by, quantile, total, worst
from services.runtime.boards import GENERATION_KEY
from services.runtime.closed import BOARDS, DATABASE
from services.runtime.durability import mongo_faults, redis_faults, stream_faults
from services.runtime.redis_client import REDIS_ERRORS, redis_client
from services.runtime.settings import MongoConfig, RedisConfig

STREAM: Final = "QUIZ_EVENTS"
STORE_SECONDS: Final = 4.0
# From here on something is a finding; the alerts of the same names have the same bounds.
MOST_LAG_SECONDS: Final = 60.0
MOST_PENDING: Final = 10_000
MOST_USED: Final = 0.85
MOST_OVERDUE_SECONDS: Final = 3600.0
LEAST_FRESH: Final = 0.99
MOST_FAILED: Final = 0.001
MOST_SKEW_SECONDS: Final = 2.0
_RUNBOOKS: Final = "docs/operations.md#"
_AWAY: Final = _RUNBOOKS + "toptenstoreaway"
_STORE_ERRORS = (PyMongoError, NatsError, TimeoutError, *REDIS_ERRORS)


class Line(NamedTuple):
    """A fact: what, how it is, and the runbook of what is wrong with it; empty if nothing is."""

    what: str
    says: str
    runbook: str = ""


def of_process(process: Said) -> Line:
    """Whether it serves."""
    runbook = _RUNBOOKS + "toptenprocessabsent"
    if not process.answers:
        return Line(process.name, "does not answer", runbook)
    text = f"version {process.version}, up {_duration(process.uptime)}"
    if abs(process.skew) > MOST_SKEW_SECONDS:
        return Line(process.name, f"its clock is {process.skew:+.0f} s off; {text}", _RUNBOOKS + "clocks")
    if not process.ready:
        return Line(process.name, f"not ready; {text}", runbook)
    if process.away:
        return Line(process.name, f"ready, but {', '.join(process.away)} does not answer it; {text}", _AWAY)
    return Line(process.name, f"ready, {text}")


def of_pipeline(processes: Sequence[Said]) -> list[Line]:
    """What waits where, from the record of an action to its board."""
    lag = worst(processes, "topten_outbox_lag_seconds")
    pending = sum(by(processes, "topten_consumer_pending", "partition").values())
    stale = worst(processes, "topten_board_stale")
    overdue = worst(processes, "topten_period_overdue_seconds")
    # One that lets a call through to see is not closed either.
    open_breakers = [name for name, state in by(processes, "topten_breaker_state", "upstream").items() if state]
    return [
        _line("outbox", f"oldest waits {_duration(lag)}", lag > MOST_LAG_SECONDS, "toptenoutboxlag"),
        _line("stream", f"{pending:.0f} events wait", pending > MOST_PENDING, "toptenconsumerbehind"),
        _line("boards", f"{stale:.0f} watched ones stale", stale > 0, "toptenboardsstale"),
        _line("periods", f"overdue {_duration(overdue)}", overdue > MOST_OVERDUE_SECONDS, "toptenperiodnotclosing"),
        _line("breakers", f"open: {', '.join(open_breakers) or 'none'}", bool(open_breakers), "toptenbreakeropen"),
    ]


def of_players(processes: Sequence[Said]) -> list[Line]:
    """What players got since the processes started."""
    screen = "topten_action_to_screen_seconds"
    shown = total(processes, f"{screen}_count")
    fresh = total(processes, f"{screen}_bucket", le="1.0") / shown if shown else 1.0
    p50, p99 = (quantile(processes, screen, share) for share in (0.5, 0.99))
    times = "nothing was shown yet" if p50 is None or p99 is None else f"p50 {p50:.2f} s, p99 {p99:.2f} s"
    submissions = total(processes, "topten_submissions_total")
    failed = total(processes, "topten_submissions_total", outcome="failed")
    requests = total(processes, "http_server_request_duration_seconds_count", http_route="/graphql")
    errors = sum(total(processes, "topten_graphql_errors_total", reason=each) for each in ("UNAVAILABLE", "INTERNAL"))
    return [
        _line(
            "submissions",
            f"{failed:.0f} of {submissions:.0f} failed",
            failed > MOST_FAILED * submissions,
            "toptensubmissions",
        ),
        _line(
            "GraphQL",
            f"{errors:.0f} errors in {requests:.0f} answers",
            errors > MOST_FAILED * requests,
            "toptengraphql",
        ),
        _line("to the screen", times, fresh < LEAST_FRESH, "toptenfreshness"),
        Line("streams", f"{total(processes, 'topten_sse_connections'):.0f} open"),
    ]


async def of_stores(urls: Mapping[str, str], database: str, processes: Sequence[Said]) -> list[Line]:
    """Whether each answers, keeps what it acknowledges, and has room. `database` is the name before the underscore."""
    used = by(processes, "topten_store_used_ratio", "store")
    asks: dict[str, Callable[[], Awaitable[list[Line]]]] = {
        "mongo": lambda: _mongo(urls["mongo"], database),
        "redis": lambda: _redis(urls["redis"]),
        "nats": lambda: _nats(urls["nats"]),
    }
    found = await asyncio.gather(*(_store(name, ask, used.get(name)) for name, ask in asks.items() if name in urls))
    told = [_room(name, share) for name, share in used.items() if name not in urls]
    return [*(line for lines in found for line in lines), *told]


async def _store(name: str, ask: Callable[[], Awaitable[list[Line]]], used: float | None) -> list[Line]:
    try:
        async with asyncio.timeout(STORE_SECONDS):
            lines = await ask()
    except _STORE_ERRORS as error:
        return [Line(name, f"does not answer ({type(error).__name__})", _AWAY)]
    return lines if used is None else [*lines, _room(name, used)]


async def _mongo(url: str, database: str) -> list[Line]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        url, serverSelectionTimeoutMS=2000, timeoutMS=3000, tz_aware=True
    )
    async with client:
        lines = _kept("mongo", await mongo_faults(client))
        closed = client[f"{database}_{DATABASE}"][BOARDS]
        last = await closed.find_one({}, {"ends_at": 1, "closed_at": 1}, sort=[("ends_at", DESCENDING)])
    text = (
        "none yet"
        if last is None
        else f"ended {last['ends_at']:%Y-%m-%d}, closed {last['closed_at']:%Y-%m-%d %H:%M} UTC"
    )
    return [*lines, Line("last closed period", text)]


async def _redis(url: str) -> list[Line]:
    async with redis_client(RedisConfig(url=url), "doctor", socket_timeout=2, socket_connect_timeout=2) as client:
        lines = _kept("redis", await redis_faults(client))
        generation = await client.get(GENERATION_KEY)
    number = "being made anew" if generation is None else f"generation {int(generation)}"
    return [*lines, _line("boards", number, generation is None, "toptenboardsstale")]


async def _nats(url: str) -> list[Line]:
    async def quiet(_error: Exception) -> None:
        """A refused connection is an answer here, not an incident."""

    client = await nats.connect(url, connect_timeout=2, max_reconnect_attempts=0, allow_reconnect=False, error_cb=quiet)
    try:
        info = await client.jetstream(timeout=2).stream_info(STREAM)
    except NotFoundError:
        return [Line("nats", f"has no stream {STREAM}", _AWAY)]
    finally:
        await client.close()
    return _kept("nats", stream_faults(info))


def _kept(name: str, faults: Sequence[str]) -> list[Line]:
    """One line a fault of durability; one that all is well if there is none."""
    lines = [Line(name, fault, _RUNBOOKS + "what-a-store-must-keep") for fault in faults]
    return lines or [Line(name, "answers, and keeps what it acknowledges")]


def _room(name: str, used: float) -> Line:
    return _line(f"room of {name}", f"{used:.0%} used", used > MOST_USED, "toptenstorefilling")


def _line(what: str, says: str, wrong: bool, runbook: str) -> Line:
    return Line(what, says, _RUNBOOKS + runbook if wrong else "")


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def database_of(environ: Mapping[str, str]) -> str:
    """The name before the underscore of every database, as the processes are told it."""
    return environ.get("TOPTEN_MONGO_DATABASE") or MongoConfig().database
