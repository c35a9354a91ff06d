"""A stored fold is replaced only by a worker that knows which one is stored; one that is wrong about it is told so."""

from __future__ import annotations

import pytest

from services.score.ledger.folds.fold import Fold
from tests.system.score import ScoreSystem


def fold(system: ScoreSystem, user_id: str, revision: int) -> Fold:
    """Return a fold of so many rows."""
    return system.store.empty_fold(user_id)._replace(revision=revision, hash=bytes([revision]) * 32)


@pytest.mark.parametrize("stored", [None, 0, 1, 2])
@pytest.mark.parametrize("expected", [0, 1, 2])
async def test_fold_is_written_only_over_the_revision_that_was_read(
    system: ScoreSystem, stored: int | None, expected: int
) -> None:
    store = system.store
    if stored is not None:
        await store.replace_folds([fold(system, "ada", stored)], store.identity)
    written = fold(system, "ada", 3)
    lost = await store.write_folds([(written, expected), (fold(system, "bob", 1), 0)], store.identity)
    is_written = stored == expected or (stored is None and expected == 0)
    assert lost == (set() if is_written else {"ada"})
    revisions = {user_id: each.revision for user_id, each in (await store.folds(["ada", "bob"])).items()}
    kept = {} if stored is None else {"ada": stored}
    assert revisions == {"bob": 1} | ({"ada": 3} if is_written else kept)


async def test_fold_that_is_written_again_after_a_lost_reply_is_stored(system: ScoreSystem) -> None:
    store = system.store
    await store.write_folds([(fold(system, "ada", 1), 0)], store.identity)
    for _ in range(2):
        assert await store.write_folds([(fold(system, "ada", 2), 1)], store.identity) == set()
    assert await store.write_folds([(fold(system, "ada", 1), 0)], store.identity) == {"ada"}
