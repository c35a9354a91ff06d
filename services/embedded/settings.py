"""The settings of all processes, and what of an environment they would refuse.

Must never be imported by a process: each knows only its own settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edge.config import EdgeConfig
from services.identity.config import IdentityConfig
from services.leaderboard.config import LeaderboardConfig
from services.quiz.config import QuizConfig
from services.runtime.config.loading import NAMESPACE, ConfigError, load, table
from services.score.config import ScoreConfig

PROCESSES: Final[dict[str, type[Any]]] = {
    "identity": IdentityConfig,
    "quiz": QuizConfig,
    "score": ScoreConfig,
    "leaderboard": LeaderboardConfig,
    "edge": EdgeConfig,
}


class WrongSettingError(ValueError):
    """A process would refuse its settings; the message has one line for each problem."""


def check(process: str, environ: Mapping[str, str]) -> None:
    """Raise WrongSettingError if the process would refuse to start."""
    try:
        load(PROCESSES[process], environ)
    except ConfigError as error:
        raise WrongSettingError("\n".join(error.problems)) from None


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """List the TOPTEN_* variables that no process reads, such as misspelled ones."""
    rows = [row for settings in PROCESSES.values() for row in table(settings)]
    known = {row.name for row in rows} | {f"{row.name}_FILE" for row in rows if row.secret}
    known |= {"TOPTEN_LOCAL_DATA", "TOPTEN_LOCAL_ENDPOINTS"}
    return sorted(name for name in environ if name.startswith(NAMESPACE) and name not in known)
