"""Repairs what a verification found: gaps in chains are sealed, folds and boards are rebuilt from the ledger.

No row is ever changed. A row that was altered, or a chain whose rows disagree although none is missing, is reported and left
to people: nothing here could know better.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import structlog

from services.score.admin.progress import Progress, rebuild_with_progress
from services.score.admin.verify import Finding, Verification, VerifySummary
from services.score.errors import RetryableError
from services.score.ledger.folds.cache import FoldCache
from services.score.ledger.seals import Seal, UnsealableError, repairing_row, seal_of
from services.score.ledger.store import InsertResult, ScoreStore
from services.score.projection.loss_detection import LossDetector
from services.streams import CHAIN_SEALED

_PLAYER_FINDINGS = frozenset({"total", "chain"})
_PAGE = 100
_ATTEMPTS = 200
_log = structlog.get_logger("repair")


async def verify_and_repair(
    verification: Verification,
    store: ScoreStore,
    folds: FoldCache,
    loss_detector: LossDetector,
    *,
    actor: str,
    now: Callable[[], int],
) -> AsyncIterator[Progress | Finding | Seal | VerifySummary]:
    """Yield everything that the verification does; its summary, last, includes what was repaired. Raises store errors."""
    players: dict[str, None] = {}
    broken: dict[str, None] = {}
    boards_differ = False
    summary: VerifySummary | None = None
    async for step in verification.run():
        if isinstance(step, VerifySummary):
            summary = step
            continue
        if isinstance(step, Finding):
            boards_differ = boards_differ or step.kind == "board"
            if step.kind in _PLAYER_FINDINGS:
                players[step.subject] = None
            if step.kind == "chain":
                broken[step.subject] = None
        yield step
    assert summary is not None, "a verification ends with its summary"
    sealed = 0
    for user_id in broken:
        for seal in await seal_chain(store, user_id, actor=actor, now=now):
            sealed += 1
            yield seal
    rebuilt_folds = 0
    user_ids = list(players)
    for start in range(0, len(user_ids), _PAGE):
        rebuilt_folds += await folds.rebuild_folds(user_ids[start : start + _PAGE])
        yield Progress("rebuilding totals", min(start + _PAGE, len(user_ids)), len(user_ids))
    rebuilt_boards = 0
    if boards_differ or rebuilt_folds or sealed:
        async for rebuild in rebuild_with_progress(loss_detector.rebuild):
            if isinstance(rebuild, Progress):
                yield rebuild
            else:
                rebuilt_boards = rebuild.boards
    yield summary._replace(seals=summary.seals + sealed, mended_players=rebuilt_folds, rebuilt_boards=rebuilt_boards)


async def seal_chain(store: ScoreStore, user_id: str, *, actor: str, now: Callable[[], int]) -> list[Seal]:
    """Seal every gap in a player's chain and correct the totals. Return the new seals. Idempotent. Raises store errors.

    Safe while events are counted: a row that another process inserts first takes the revision, and the chain is read again.
    """
    seals: list[Seal] = []
    for _ in range(_ATTEMPTS):
        identity = store.identity
        rows = [row async for row in store.rows_after({user_id: 0})]
        try:
            row = repairing_row(
                store.empty_fold(user_id),
                rows,
                actor=actor,
                digest=lambda actor, reason: store.digests.change(user_id, actor, reason),
                recorded_at=now(),
            )
        except UnsealableError as error:
            _log.error("chain cannot be sealed", user_id=user_id, reason=str(error))
            return seals
        if row is None:
            return seals
        (result,) = await store.insert([row], identity)
        if result is InsertResult.INSERTED and row.kind == CHAIN_SEALED:
            seals.append(seal_of(row))
            _log.warning("gap sealed", user_id=user_id, revisions=row.action_id, delta=row.delta, actor=actor)
    raise RetryableError("Other workers keep counting the same player.")
