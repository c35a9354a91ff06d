"""Plausible defects in what a process or page remembers when a store comes back with other data than it had."""

from __future__ import annotations

from tests.faults.seeded_defects import Defect

RESTORE_DEFECTS = (
    Defect(
        "a room whose store went back stays as it was",
        "edge/stream/room_upstream.py",
        "                        patience.reschedule(asyncio.get_running_loop().time() + BEHIND_SECONDS)\n",
        "                        pass\n",
        ("tests/unit/edge/stream/test_room_outcomes.py", "-k", "went_back"),
    ),
    Defect(
        "a page keeps the state of a room whose store went back",
        "edge/web/client/stream.js",
        "behind ||= setTimeout(() => show(), BEHIND);",
        "return;",
        ("tests/browser/test_client_package.py", "-k", "went_back"),
    ),
    Defect(
        "defined boards that a restore removed stay",
        "services/leaderboard/reading/definitions.py",
        'document["edition"] == self._catalog.edition:',
        'document["edition"] in (0, self._catalog.edition):',
        ("tests/unit/leaderboard/test_definitions.py",),
    ),
    Defect(
        "an edition of former data is taken for this one's",
        "services/leaderboard/reading/rosters.py",
        "edition = cached.roster.edition if cached is not None and is_recent else 0",
        "edition = cached.roster.edition if cached is not None else 0",
        ("tests/unit/leaderboard/test_rosters.py", "-k", "gave_twice"),
    ),
    Defect(
        "a flag that a restore removed is not stored again",
        "services/score/fairplay/monitor.py",
        "        self._stored_ids.clear()\n",
        "        pass\n",
        ("tests/unit/score/test_rules.py", "-k", "restore"),
    ),
)
