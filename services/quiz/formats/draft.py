"""The form between the formats and the contract: what a file says of a quiz, in the words of no format.

A reader fills drafts and judges nothing but its own syntax; `assembly` decides what can be taken. A new kind of question is a
word here, the one of quiz files, and a function in `draft_questions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from topten.quiz.v1 import quiz_pb2

SINGLE_CHOICE: Final = "single_choice"
TRUE_FALSE: Final = "true_false"
MULTIPLE_CHOICE: Final = "multiple_choice"
NUMERIC: Final = "numeric"
SHORT_TEXT: Final = "short_text"
ORDERING: Final = "ordering"
MATCHING: Final = "matching"
# One grade, mark or point of formats whose default is 1 is worth as much as a question of ours by default.
POINTS_OF_GRADE: Final = 10
# How long after a time limit answers are still accepted, if the file does not say it.
DEFAULT_GRACE_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Text:
    """A text as the file has it; with `markup` it is HTML."""

    raw: str
    markup: bool = False


@dataclass(slots=True)
class Choice:
    """An option. `share` is the part of the points that it earns: 1 if it is right, 0 if it is wrong, or between.

    `target` is what it is matched to.
    """

    text: Text
    share: float = 0.0
    id: str = ""
    target: Text = Text("")


@dataclass(slots=True)
class Item:
    """A question of a file, at a place that its author finds.

    `kind` is one of the words above or the format's word for another. `changes` says what the reader left out, `fault` why it
    could not read the item.
    """

    place: str
    text: Text = Text("")
    kind: str = SINGLE_CHOICE
    choices: list[Choice] = field(default_factory=list)
    """The options in the order in which they are shown; of ORDERING without `order` in the right one."""
    truth: bool | None = None
    """The answer to TRUE_FALSE."""
    order: list[int] = field(default_factory=list)
    """Of ORDERING, the indexes of choices from first to last."""
    targets: list[Text] = field(default_factory=list)
    """Of MATCHING, all targets in the order in which they are shown."""
    number: str = ""
    tolerance: str = ""
    """Of NUMERIC, decimals."""
    accepted: list[Text] = field(default_factory=list)
    """Of SHORT_TEXT."""
    case_sensitive: bool = False
    partial: bool = False
    """Whether an answer that is right in part earns a part: by the shares of choices, or for each option in its place."""
    explanation: Text = Text("")
    id: str = ""
    points: float | None = None
    changes: list[str] = field(default_factory=list)
    fault: str = ""


@dataclass(slots=True)
class QuizDraft:
    """A quiz of a file. Without a title it is called after the file."""

    items: list[Item] = field(default_factory=list)
    title: Text = Text("")
    description: Text = Text("")
    max_attempts: int = 0
    counting: quiz_pb2.Counting.ValueType = quiz_pb2.COUNTING_BEST
    limit_seconds: int = 0
    """The time limit of an attempt; 0 for none."""
    changes: list[str] = field(default_factory=list)


def by_text(texts: Iterable[Text]) -> list[Text]:
    """Return each text once, in an order that tells nothing about which belongs to what."""
    return sorted({*texts}, key=lambda text: (text.raw.casefold(), text.raw, text.markup))
