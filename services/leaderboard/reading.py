"""One reading of a board: questions to its keys whose answers are all of one state of it.

On one server the script that asks a key looks at the generation in the same moment. On a cluster that may be on another
server than the key, so it is asked for before and after. Where a board is several keys, their versions are asked for once
more at the end: if none has moved, there was a moment at which all keys were as they were read, and the sum of the versions
names that state. So two readings with one version are the same, whoever reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from services.leaderboard import scripts
from services.leaderboard.head import UnreadableError
from services.runtime.boards import GENERATION_KEY, Board
from services.runtime.redis_client import is_cluster
from services.runtime.redis_scripts import Script, in_order, together
from services.runtime.split import SPLIT_KEY, Part, Split

Answers = list[list[Any]]
_WHOLE: Final = (GENERATION_KEY, SPLIT_KEY)
# What an answer begins with; see `scripts`.
_STATE: Final = 4


class MovedError(Exception):
    """The board changed while it was read: read it again."""


class Reading:
    """One attempt to read `board`. Every method raises UnreadableError while the boards are not whole, MovedError, what the
    driver raises, and ValueError or TypeError for what no board can hold.
    """

    def __init__(self, asker: Asker, board: Board) -> None:
        self._asker = asker
        self._split_text, self.split = asker.known
        self.parts: tuple[Part, ...] = self.split.parts(board)
        self.generation = 0
        self.version = 0
        self._versions: list[int] | None = None

    async def ask(self, source: str, *arguments: Any) -> Answers:
        """What each key answers to a script, without its state."""
        return await self.ask_each(source, dict.fromkeys(self.parts, arguments))

    async def ask_each(self, source: str, calls: Mapping[Part, Sequence[Any]]) -> Answers:
        """As `ask`, of the keys and with the arguments of `calls`."""
        whole, answers, versions = await self._asker.ask(self.parts, source, calls)
        complete, split = whole
        if complete is None:
            raise UnreadableError("the boards are being made anew")
        if (split or b"") != self._split_text:
            self._asker.adopt((split or b"").decode())
            raise MovedError
        seen = dict(zip(self.parts, versions, strict=True)) if versions else {}
        for part, (_, _, generation, version, *_) in zip(calls, answers, strict=True):
            # The boards of a generation are complete as one, so a board that was last written by somebody who did not
            # know of the newest one yet belongs to it as well. One that is ahead is being made.
            if generation is not None and int(generation) > int(complete):
                raise UnreadableError("the boards are being made anew")
            if seen.setdefault(part, version) != version:
                raise MovedError
        found = [int(version or 0) for version in seen.values()]
        if self._versions is not None and (found, int(complete)) != (self._versions, self.generation):
            raise MovedError
        self.generation, self._versions, self.version = int(complete), found, sum(found)
        return [answer[_STATE:] for answer in answers]


class Asker:
    """Who asks keys of boards, and knows how boards are hashed over them, beginning with what is configured."""

    def __init__(self, redis: Redis, split: Split) -> None:
        self._redis = redis
        self._scripts = {source: Script(redis, source, reads_only=True) for source in scripts.ALL}
        self._is_cluster = is_cluster(redis)
        # Encoded once, not by the driver for each question.
        self._keys = lru_cache(maxsize=4096)(self._keys_of)
        self.adopt(str(split))

    def _keys_of(self, part: Part) -> tuple[bytes, ...]:
        beside = () if self._is_cluster else _WHOLE
        return tuple(key.encode() for key in (part.key, part.meta_key, part.previous_key, *beside))

    def adopt(self, split: str) -> None:
        """Boards are hashed in this way from now on. Raises ValueError."""
        self.known = split.encode(), Split(split)

    async def ask(
        self, parts: Sequence[Part], source: str, calls: Mapping[Part, Sequence[Any]]
    ) -> tuple[list[Any], Answers, list[Any]]:
        """Generation and split, the answers of the keys that are asked, and the versions of `parts` after that, if there are
        several. Raises UnreadableError if the generation is not the same before and after, and what the driver raises.
        """
        script = self._scripts[source]
        commands = [script.command(self._keys(part), arguments) for part, arguments in calls.items()]
        versions = [("HGET", part.meta_key, "version") for part in parts] if len(parts) > 1 else []
        whole = [("MGET", *_WHOLE)] if self._is_cluster else []
        try:
            if not whole and not versions and len(commands) == 1:  # as a rule; sorting answers would cost 3 µs
                answers = await together(self._redis, commands)
                return answers[0][:2], answers, []
            before, answers, again, after = await in_order(self._redis, whole, commands, versions, whole)
        except NoScriptError:
            await script.load()
            before, answers, again, after = await in_order(self._redis, whole, commands, versions, whole)
        if before != after:
            raise UnreadableError("the boards are being made anew")
        return before[0] if before else answers[0][:2], answers, again
