"""Named moments at which a process can be made to die, and how they are found in its code.

A point wraps one method of a class of ours; the program itself knows nothing of it. A name that does not resolve any more
is an error, so that a renamed method cannot turn a test into one that proves nothing.
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
    """`how` makes of a method one that dies on its way."""

    path: str
    how: Callable[[Method, Callable[[], None]], Method]


def _before(method: Method, die: Callable[[], None]) -> Method:
    @functools.wraps(method)
    async def wrapped(self: Any, *args: Any, **named: Any) -> Any:
        if _has_something(args):
            die()
        return await method(self, *args, **named)

    return wrapped


def _after(method: Method, die: Callable[[], None]) -> Method:
    @functools.wraps(method)
    async def wrapped(self: Any, *args: Any, **named: Any) -> Any:
        result = await method(self, *args, **named)
        if _has_something(args):
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


def _has_something(args: tuple[Any, ...]) -> bool:
    """A flush of nothing is no moment."""
    return not args or not hasattr(args[0], "__len__") or len(args[0]) > 0


POINTS = {
    "score.after-receive": Point("services.score.intake:Intake._handle", _before),
    "score.after-insert-before-boards": Point("services.score.store:ScoreStore.insert", _after),
    "score.between-two-boards": Point("services.score.board_writer:Script.run", _first_of_several),
    "score.after-boards-before-pubsub": Point("services.score.publisher:ScorePublisher.publish", _before),
    "score.before-ack": Point("services.score.consumer:PullLoop._answer", _before),
    "score.before-a-folds-flush": Point("services.score.store:ScoreStore.write_folds", _before),
    "score.after-a-folds-flush": Point("services.score.store:ScoreStore.write_folds", _after),
    "score.rebuild-before-the-rename": Point("services.score.rebuild:Rebuild._put_in_place", _before),
    "score.rebuild-after-the-rename": Point("services.score.rebuild:Rebuild._put_in_place", _after),
    "quiz.after-outbox-write": Point("services.quiz.store:QuizStore.add", _after),
    "quiz.after-publish-before-puback": Point(
        "services.runtime.outbox:EventPublisher.publish", _sent_but_not_acknowledged
    ),
    "score.erasing-before-the-names-go": Point("services.score.store:ScoreStore.rename", _before),
    "quiz.erasing-before-it-answers": Point("services.quiz.personal:PersonalRecords.erase", _after),
    "identity.erasing-before-it-answers": Point("services.identity.erasure_store:ErasureStore.erase", _after),
    "identity.erasing-before-it-ends": Point("services.identity.erasure_store:ErasureStore.finish", _before),
    "identity.after-a-change": Point("services.identity.change_store:ChangeStore.apply", _after),
}


def arm(name: str, nth: int = 1) -> None:
    """From now on this process dies, as by SIGKILL, when it comes to the point for the `nth` time."""
    point, left = POINTS[name], nth
    owner, attribute = resolve(point.path)

    def die() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, attribute, point.how(getattr(owner, attribute), die))


def resolve(path: str) -> tuple[type, str]:
    """The class and the method's name. Raises AttributeError or ImportError if there is none."""
    module, _, names = path.partition(":")
    owner, _, attribute = names.partition(".")
    found: type = getattr(importlib.import_module(module), owner)
    getattr(found, attribute)
    return found, attribute
