"""Plausible defects in what boards show of the metadata of actions."""

from __future__ import annotations

from tests.faults.seeded_defects import Defect

SHOWN = "tests/system/views/test_shown_metadata.py"
METADATA_DEFECTS = (
    Defect(
        "a row that shows metadata has the hash of one that does not",
        "services/score/ledger/rows.py",
        "(True,) if change.shows_metadata else ()",
        "()",
        ("tests/unit/score/test_actions.py", "-k", "shows_metadata"),
    ),
    Defect(
        "an entry shows the metadata of a voided action",
        "services/score/projection/shown_metadata.py",
        " or row.event_id in voided",
        "",
        (SHOWN, "-k", "one_moment"),
    ),
    Defect(
        "the metadata of an older write replaces that of a later one",
        "services/score/projection/board_write.lua",
        "tonumber(held:sub(1, space)) > revision then return end",
        "false then return end",
        ("tests/system/counting/test_score_boards.py", "-k", "metadata"),
    ),
    Defect(
        "an erased player's entry in a closed period keeps its metadata",
        "services/score/periods/archive_store.py",
        ', "$unset": {"metadata": ""}}',
        "}",
        (SHOWN, "-k", "closed_period"),
    ),
    Defect(
        "the board of a group has no metadata",
        "services/leaderboard/reading/roster_board.py",
        "not ranking.has_metadata or not member_ids",
        "True",
        (SHOWN, "-k", "deciding_action"),
    ),
)
