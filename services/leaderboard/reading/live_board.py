"""A board in Redis, whether one key or several shards. Reads only.

Results are exact for any number of shards: the head is the best of the heads of all shards, and the number of members before a
rank is the sum over the shards, by value and id as Redis orders them.

All reads of a `LiveBoard` see one state. The script that reads a shard also reads the generation, or on a cluster, where
the generation may be on another server, it is read before and after. Where a board has several shards, their versions are
read again at the end. If none has moved, there was a moment at which every shard was as it was read, and the sum of the
versions identifies that state for every reader. A board is readable while `leaderboard:generation` exists and no shard is
ahead of it; otherwise the boards are being rebuilt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from services.boards.board import Board
from services.boards.sharding import Shard, shown_metadata
from services.leaderboard.ranking import Member, order, quantile_index
from services.leaderboard.reading import scripts
from services.leaderboard.reading.results import Head, Standing, UnreadableError, Window
from services.leaderboard.reading.scripts import REBUILDING, STATE_FIELDS, BoardScripts

# A member is searched for by halving until no more than this many are left, which are read at once.
_SEARCH_SIZE: Final = 256


class MovedError(Exception):
    """The board changed while it was read: read it again."""


class LiveBoard:
    """One attempt to read `board`. `is_partial` is whether it is being built, so that players may be missing.

    `has_metadata` is whether it may show any of the players whose `values` were read.

    Every method raises UnreadableError while the boards are rebuilt, MovedError, the driver's errors, and ValueError or
    TypeError for data that no writer of ours stores.
    """

    __slots__ = (
        "_board", "_generation", "_scripts", "_sharding", "_sharding_text", "_shards", "_versions", "has_metadata",
        "is_partial",
    )  # fmt: skip

    def __init__(self, board_scripts: BoardScripts, board: Board, *, is_partial: bool) -> None:
        self.is_partial = is_partial
        self.has_metadata = False
        self._scripts = board_scripts
        self._board = board
        self._sharding_text, self._sharding = board_scripts.sharding
        self._shards: tuple[Shard, ...] = self._sharding.shards(board)
        self._generation = 0
        self._versions: list[int] | None = None

    @property
    def name(self) -> str:
        """What distinguishes it from every other board, also from an archived one."""
        return self._board.name

    async def head(self, size: int) -> Head:
        """Return the first `size` members. A board without any is empty and has version 0."""
        part = _cut(_merge([*reply, None] for reply in await self._ask(scripts.HEAD, size)), 0, size)
        return Head(self._generation, sum(self._versions or ()), part.members, part.previous, metadata=part.metadata)

    async def total(self) -> int:
        """Return the number of ranked players."""
        return sum(await self._totals())

    async def standings(self, user_ids: Sequence[str]) -> Mapping[str, Standing]:
        """Return the standing of each of the players (at least one) who is ranked."""
        by_shard = self._by_shard(user_ids)
        standings: dict[str, Standing] = {}
        replies = await self._ask_each(scripts.STANDINGS, by_shard)
        for ids, (*lists, shown) in zip(by_shard.values(), replies, strict=True):
            metadata = _metadata(ids, shown)
            for user_id, rank, value, before, above in zip(ids, *lists, strict=True):
                if rank is not None:
                    previous, text = None if before is None else int(before), metadata.get(user_id, "")
                    standings[user_id] = Standing(int(rank) + 1, float(value), previous, _value(above), metadata=text)
        if len(self._shards) > 1 and standings:
            await self._add_other_shards(standings)
        return standings

    async def values(self, user_ids: Sequence[str]) -> Mapping[str, float]:
        """Return the value of each of the players, tens of thousands at once, who is ranked."""
        by_shard = self._by_shard(user_ids)
        replies = await self._ask_each(scripts.VALUES, by_shard) if by_shard else []
        self.has_metadata = any(shown is not None for _, shown in replies)
        return {
            user_id: float(value)
            for ids, (lists, _) in zip(by_shard.values(), replies, strict=True)
            for user_id, value in zip(ids, chain.from_iterable(lists), strict=True)
            if value is not None
        }

    async def metadata(self, user_ids: Sequence[str], state: tuple[int, int]) -> Mapping[str, str]:
        """Return what the board shows of the players (at least one) in a state. Raises MovedError if it has another one."""
        by_shard = self._by_shard(user_ids)
        replies = await self._ask_each(scripts.STANDINGS, by_shard)
        if await self.state() != state:
            raise MovedError
        found: dict[str, str] = {}
        for ids, (*_, shown) in zip(by_shard.values(), replies, strict=True):
            found |= _metadata(ids, shown)
        return found

    async def state(self) -> tuple[int, int]:
        """Return the generation and the version."""
        if self._versions is None:
            await self._totals()
        return self._generation, sum(self._versions or ())

    async def page(self, size: int, after: Member | None) -> Window:
        """Return `size` members that follow `after`, or the first ones. `after` need not be on the board."""
        replies = await self._ask(scripts.PAGE, size, *(("", "") if after is None else (repr(after[1]), after[0])))
        total, before = (sum(int(reply[n]) for reply in replies) for n in (0, 1))
        return _cut(_merge(reply[2:] for reply in replies), 0, size).window(total, before + 1)

    async def around(self, user_id: str, radius: int) -> Window:
        """Return the player and `radius` others on each side, shifted where the board ends sooner.

        The window is empty if the player is not ranked.
        """
        if len(self._shards) == 1:
            ((total, start, *reply),) = await self._ask(scripts.AROUND, user_id, radius, "")
            return _merge([reply]).window(int(total), int(start) + 1)
        standing = (await self.standings([user_id])).get(user_id)
        value = "" if standing is None else repr(standing.value)
        # Near an end of the board, all neighbors may be on one side.
        replies = await self._ask(scripts.AROUND, user_id, 2 * radius, value)
        total = sum(int(reply[0]) for reply in replies)
        if standing is None:
            return Window(total, 1, [], {}, None)
        part = _merge(reply[2:] for reply in replies)
        start = max(0, min(standing.rank - 1 - radius, total - 2 * radius - 1))
        skipped = part.members.index((user_id, standing.value)) - (standing.rank - 1 - start)
        return _cut(part, skipped, 2 * radius + 1).window(total, start + 1)

    async def ahead(self, value: float, excluded: str) -> tuple[int, int]:
        """Return how many players other than `excluded` have at least this value, and how many are ranked."""
        replies = await self._ask(scripts.AHEAD, repr(value), excluded)
        return sum(int(reply[0]) for reply in replies), sum(int(reply[1]) for reply in replies)

    async def quantile(self, percentile: float) -> tuple[float | None, int]:
        """Return the least value that at least `percentile` of players do not exceed, and how many are ranked.

        That is the nearest-rank method. The value is None if nobody is ranked.
        """
        totals = await self._totals()
        total = sum(totals)
        index = quantile_index(percentile, total)
        return (await self._member_at(index, totals))[1] if total else None, total

    async def _totals(self) -> list[int]:
        return [int(reply[0]) for reply in await self._ask(scripts.SLICE, 0, 0)]

    def _by_shard(self, user_ids: Sequence[str]) -> Mapping[Shard, Sequence[str]]:
        by_shard: defaultdict[Shard, list[str]] = defaultdict(list)
        for user_id in user_ids:
            by_shard[self._sharding.shard_of(self._board, user_id)].append(user_id)
        return by_shard

    async def _add_other_shards(self, standings: dict[str, Standing]) -> None:
        """Add to each standing, which is of the player's own shard, the members that rank before it on the others."""
        others = {
            shard: [user_id for user_id in standings if self._sharding.shard_of(self._board, user_id) != shard]
            for shard in self._shards
        }
        calls = {
            shard: [text for user_id in ids for text in (repr(standings[user_id].value), user_id)]
            for shard, ids in others.items()
        }
        for ids, lists in zip(others.values(), await self._ask_each(scripts.BEFORE, calls), strict=True):
            for user_id, count, above in zip(ids, *lists, strict=True):
                found = standings[user_id]
                nearest = _nearest((found.above, _value(above)))
                standings[user_id] = found._replace(rank=found.rank + int(count), above=nearest)

    async def _member_at(self, index: int, totals: Sequence[int]) -> Member:
        """Return the member at `index`, from 0: on each shard, the range in which it can be is halved until it is small."""
        one_shard = len(totals) == 1
        lows, highs = ([index], [index + 1]) if one_shard else ([0] * len(totals), list(totals))
        while sum(highs) - sum(lows) > _SEARCH_SIZE:
            widest = max(range(len(totals)), key=lambda n: highs[n] - lows[n])
            middle = (lows[widest] + highs[widest]) // 2
            ((_, flat),) = await self._ask_each(scripts.SLICE, {self._shards[widest]: (middle, middle + 1)})
            ((user_id, value),) = _members(flat)
            counts = [int(count) for (count,), _ in await self._ask(scripts.BEFORE, repr(value), user_id)]
            if sum(counts) > index:
                highs = counts
            else:
                lows = counts
        ranges = dict(zip(self._shards, zip(lows, highs, strict=True), strict=True))
        rest = await self._ask_each(scripts.SLICE, ranges)
        return order(chain.from_iterable(_members(flat) for _, flat in rest))[index - sum(lows)]

    async def _ask(self, source: str, *arguments: Any) -> list[list[Any]]:
        """Run a script on each shard; return its replies without the state that they begin with."""
        return await self._ask_each(source, dict.fromkeys(self._shards, arguments))

    async def _ask_each(self, source: str, calls: Mapping[Shard, Sequence[Any]]) -> list[list[Any]]:
        """Run a script as `_ask` does, on the shards and with the arguments in `calls`."""
        replies = await self._scripts.run(source, calls, self._shards)
        if replies.generation is None:
            raise UnreadableError(REBUILDING)
        if replies.sharding != self._sharding_text:
            self._scripts.adopt(replies.sharding)
            raise MovedError
        current = int(replies.generation)
        versions = dict(zip(self._shards, replies.versions, strict=True)) if replies.versions else {}
        for shard, (_, _, generation, version, *_) in zip(calls, replies.shards, strict=True):
            # All boards of a generation become complete together, so a shard written last under an older one belongs to
            # the current one, too. A shard that is ahead is being built.
            if generation is not None and int(generation) > current:
                raise UnreadableError(REBUILDING)
            if versions.setdefault(shard, version) != version:
                raise MovedError
        numbers = [int(version or 0) for version in versions.values()]
        if self._versions is not None and (numbers, current) != (self._versions, self._generation):
            raise MovedError
        self._generation, self._versions = current, numbers
        return [reply[STATE_FIELDS:] for reply in replies.shards]


class _Part(NamedTuple):
    """Consecutive members of a board, with previous ranks and metadata, and the value of the place above the first one."""

    members: list[Member]
    previous: Mapping[str, int]
    metadata: Mapping[str, str]
    above: float | None

    def window(self, total: int, first: int) -> Window:
        """Return the part as a window that begins with the place `first` of `total`."""
        return Window(total, first, self.members, self.previous, self.above, metadata=self.metadata)


def _merge(replies: Iterable[Sequence[Any]]) -> _Part:
    """Return the members of all shards, in order."""
    members: list[Member] = []
    previous: dict[str, int] = {}
    metadata: dict[str, str] = {}
    aboves: list[float | None] = []
    for flat, ranks, shown, above in replies:
        aboves.append(_value(above))
        of_shard = _members(flat)
        members += of_shard
        if ranks:
            previous |= {of_shard[n][0]: int(rank) for n, rank in zip(ranks[::2], ranks[1::2], strict=True)}
        if shown:
            metadata |= _metadata([user_id for user_id, _ in of_shard], shown)
    return _Part(members if len(aboves) == 1 else order(members), previous, metadata, _nearest(aboves))


def _cut(part: _Part, start: int, size: int) -> _Part:
    """Return `size` members from `start`, and the value of the place above them."""
    if not start and len(part.members) <= size:
        return part
    members = part.members[start : start + size]
    previous = {user_id: part.previous[user_id] for user_id, _ in members if user_id in part.previous}
    metadata = {user_id: part.metadata[user_id] for user_id, _ in members if user_id in part.metadata}
    return _Part(members, previous, metadata, part.members[start - 1][1] if start else part.above)


def _metadata(user_ids: Sequence[str], shown: Sequence[bytes | None] | None) -> dict[str, str]:
    """Return the metadata of those of the members who have any; `shown` is None if the shard has none."""
    found = zip(user_ids, shown, strict=True) if shown else ()
    return {user_id: text for user_id, stored in found if (text := shown_metadata(stored))}


def _nearest(aboves: Iterable[float | None]) -> float | None:
    """Return the value of the place above, of those that are above it on each shard; None if it is the first."""
    return min((above for above in aboves if above is not None), default=None)


def _value(text: bytes | None) -> float | None:
    return None if text is None else float(text)


def _members(flat: Sequence[bytes]) -> list[Member]:
    """Return members from ids and values in turn."""
    return list(zip(map(bytes.decode, flat[::2]), map(float, flat[1::2]), strict=True))
