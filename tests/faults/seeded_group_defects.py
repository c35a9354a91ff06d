"""Plausible defects in boards of groups and in what identity tells of their members."""

from __future__ import annotations

from tests.faults.seeded_defects import Defect

TEAMS = "tests/system/views/test_team_boards.py"
GROUPS = "tests/unit/identity/test_groups.py"
ROSTERS = "tests/unit/leaderboard/test_rosters.py"
VISIBILITY = "tests/system/access/test_board_visibility.py"
GROUP_DEFECTS = (
    Defect(
        "every player reads a board for the members of a group",
        "services/boards/visibility.py",
        "return definition.group in groups if definition.group else definition.includes(caller.country)",
        "return definition.includes(caller.country)",
        ("tests/unit/boards/test_visibility.py", "-k", "exists_for_members"),
    ),
    Defect(
        "the stream of who has left a group goes on",
        "edge/stream/hub.py",
        "        await self._end_former_members()\n",
        "",
        (VISIBILITY, "-k", "until_leaving"),
    ),
    Defect(
        "a change of teams makes no later frame",
        "services/leaderboard/reading/roster_board.py",
        "version = ranking.version + roster.edition * VERSIONS_PER_STEP",
        "version = ranking.version",
        (TEAMS, "-k", "never_go_backwards"),
    ),
    Defect(
        "who joins a team when a period is over changes its result",
        "services/leaderboard/reading/rosters.py",
        "for user_id, since in members if since < ends_at",
        "for user_id, since in members",
        (TEAMS, "-k", "does_not_count_in_it"),
    ),
    Defect(
        "the board of a group shows everybody",
        "services/leaderboard/reading/boards.py",
        "if definition is None or not definition.has_roster:",
        "if definition is None or not definition.teams:",
        ("tests/system/views/test_group_boards.py", "-k", "nobody_else"),
    ),
    Defect(
        "who joins when a board is archived changes its last state",
        "services/leaderboard/reading/boards.py",
        ".until(end).until(definition.archived_at)",
        ".until(end)",
        ("tests/system/boards/test_archived_boards.py", "-k", "after_its_keys"),
    ),
    Defect(
        "the board of a deleted group goes back to an earlier edition",
        "services/leaderboard/reading/rosters.py",
        "return Roster(_LAST_EDITION, ())",
        "return Roster(0, ())",
        (ROSTERS, "-k", "when_it_is_deleted"),
    ),
    Defect(
        "a group keeps its edition when its members change",
        "services/identity/groups/group_store.py",
        "            after = replace(after, edition=before.edition + 1)\n",
        "",
        (GROUPS, "-k", "another_edition"),
    ),
    Defect(
        "a new group takes over the board of a deleted one",
        "services/identity/groups/service.py",
        "            if await self._boards.shows_members_of(group_id):\n                raise _not_found()\n",
        "",
        (GROUPS, "-k", "not_created_again"),
    ),
)
