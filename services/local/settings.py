"""The settings of all processes: which class reads each one's, and what of an environment they would refuse.

Must never be imported by a process: each knows its own settings alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edge.config import EdgeConfig
from services.identity.config import IdentityConfig
from services.leaderboard.config import LeaderboardConfig
from services.quiz.config import QuizConfig
from services.runtime.config import NAMESPACE, ConfigError, load, table
from services.score.config import ScoreConfig

PROCESSES: Final[dict[str, type[Any]]] = {
    "identity": IdentityConfig,
    "quiz": QuizConfig,
    "score": ScoreConfig,
    "leaderboard": LeaderboardConfig,
    "edge": EdgeConfig,
}


class WrongSettingError(ValueError):
    """A process would refuse its settings; the message has a line for each problem."""


def check(process: str, environ: Mapping[str, str]) -> None:
    """Raises WrongSettingError for what the process would end with at once."""
    try:
        load(PROCESSES[process], environ)
    except ConfigError as error:
        raise WrongSettingError("\n".join(error.problems)) from None


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none: a misspelt one must not pass in silence."""
    rows = [row for settings in PROCESSES.values() for row in table(settings)]
    known = {row.name for row in rows} | {f"{row.name}_FILE" for row in rows if row.secret}
    known |= {"TOPTEN_LOCAL_DATA", "TOPTEN_LOCAL_ENDPOINTS"}
    return sorted(name for name in environ if name.startswith(NAMESPACE) and name not in known)
