"""Crash points: named moments at which a process can be made to kill itself.

A crash point wraps one method; the program itself does not know it. A name that does not resolve is an error, so that a
renamed method cannot turn a test into one that proves nothing.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

Method = Callable[..., Coroutine[Any, Any, Any]]


class Point(NamedTuple):
    """`how` wraps the method at `path` so that it calls `die` on its way."""

    path: str
    how: Callable[[Method, Callable[[], None]], Method]


def _before(method: Method, die: Callable[[], None]) -> Method:
    @functools.wraps(method)
    async def wrapped(self: Any, *args: Any, **named: Any) -> Any:
        if _has_work(args):
            die()
        return await method(self, *args, **named)

    return wrapped


def _after(method: Method, die: Callable[[], None]) -> Method:
    @functools.wraps(method)
    async def wrapped(self: Any, *args: Any, **named: Any) -> Any:
        result = await method(self, *args, **named)
        if _has_work(args):
            die()
        return result

    return wrapped


def _first_of_several(method: Method, die: Callable[[], None]) -> Method:
    @functools.wraps(method)
    async def wrapped(self: Any, calls: Any) -> Any:
        if len(calls) < 2:
            return await method(self, calls)
        await method(self, calls[:1])
        die()
        return await method(self, calls[1:])

    return wrapped


def _sent_but_not_acknowledged(_method: Method, die: Callable[[], None]) -> Method:
    async def wrapped(self: Any, event: Any) -> None:
        client = self._jetstream._nc
        subject, headers = f"{self._subject}.{event.user_id}", {"Nats-Msg-Id": event.event_id}
        await client.publish(subject, event.data, headers=headers)
        await client.flush()
        die()

    return wrapped


def _has_work(args: tuple[Any, ...]) -> bool:
    """Ignore calls with nothing to do, such as an empty flush."""
    return not args or not hasattr(args[0], "__len__") or len(args[0]) > 0


POINTS = {
    "score.after-receive": Point("services.score.ingest.consumers:Consumers._handle", _before),
    "score.after-insert-before-boards": Point("services.score.ledger.store:ScoreStore.insert", _after),
    "score.between-two-boards": Point("services.score.projection.board_writer:Script.run", _first_of_several),
    "score.after-boards-before-pubsub": Point("services.score.projection.publisher:ScorePublisher.publish", _before),
    "score.before-ack": Point("services.score.ingest.pull_loop:PullLoop._send", _before),
    "score.before-fold-flush": Point("services.score.ledger.store:ScoreStore.write_folds", _before),
    "score.after-fold-flush": Point("services.score.ledger.store:ScoreStore.write_folds", _after),
    "score.rebuild-before-swap": Point("services.score.projection.rebuild:Rebuild._swap_in", _before),
    "score.rebuild-after-swap": Point("services.score.projection.rebuild:Rebuild._swap_in", _after),
    "score.building-after-rows-before-folds": Point("services.score.ledger.folds.cache:FoldCache.write", _before),
    "score.sealing-within-a-tree": Point("services.score.periods.head_store:HeadStore.add_tiles", _after),
    "score.sealing-before-the-head": Point("services.score.periods.head_store:HeadStore.add", _before),
    "quiz.after-outbox-write": Point("services.quiz.submissions.store:SubmissionStore.add_all", _after),
    "quiz.after-publish-before-puback": Point(
        "services.runtime.outbox.publishing:EventPublisher.publish", _sent_but_not_acknowledged
    ),
    "score.erasing-before-names-are-erased": Point("services.score.ledger.store:ScoreStore.erase_names", _before),
    "quiz.erasing-before-it-answers": Point("services.quiz.personal_data_store:PersonalDataStore.erase", _after),
    "identity.erasing-before-it-answers": Point("services.identity.erasure.erasure_store:ErasureStore.erase", _after),
    "identity.erasing-before-it-ends": Point("services.identity.erasure.erasure_store:ErasureStore.finish", _before),
    "identity.after-a-change": Point("services.identity.moderation.change_store:ChangeStore.apply", _after),
}


def arm(name: str, nth: int = 1) -> None:
    """Make this process kill itself with SIGKILL at the `nth` pass of a crash point."""
    point, remaining = POINTS[name], nth
    owner, attribute = resolve(point.path)

    def die() -> None:
        nonlocal remaining
        remaining -= 1
        if remaining <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, attribute, point.how(getattr(owner, attribute), die))


def resolve(path: str) -> tuple[type, str]:
    """Return the class and the method's name. Raises AttributeError or ImportError if it does not exist."""
    module, _, names = path.partition(":")
    owner, _, attribute = names.partition(".")
    resolved: type = getattr(importlib.import_module(module), owner)
    getattr(resolved, attribute)
    return resolved, attribute
