"""What became of the content of a file: a quiz, and for each item whether it was taken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from topten.quiz.v1 import quiz_pb2

TAKEN: Final = "taken"
CHANGED: Final = "changed"
REFUSED: Final = "refused"


@dataclass(slots=True)
class ItemReport:
    """An item's place in the file and its outcome. `notes` says how it was changed, or every reason of its refusal."""

    place: str
    outcome: str = TAKEN
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line."""
        return f"{self.place}: {self.outcome}{': ' if self.notes else ''}{'; '.join(self.notes)}"


@dataclass(slots=True)
class QuizReport:
    """A quiz of a file. It can be stored unless there are faults. `changes` are those of the quiz itself."""

    definition: quiz_pb2.QuizDefinition
    items: list[ItemReport]
    changes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def has_refusals(self) -> bool:
        """Whether an item was refused."""
        return any(item.outcome == REFUSED for item in self.items)

    @property
    def summary(self) -> str:
        """The numbers of items by outcome: `9 taken, 1 changed`."""
        numbers = Counter(item.outcome for item in self.items)
        return ", ".join(f"{numbers[word]} {word}" for word in (TAKEN, CHANGED, REFUSED) if numbers[word])
