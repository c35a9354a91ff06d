"""The files of backups: old ones are removed by their names alone, and an unfinished one never has a backup's name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.cli.backup.archive import BackupError
from services.cli.backup.files import check_pattern, name_at, remove_old, replacing

PATTERN = "topten-{time}.topten"


def test_the_newest_files_of_the_pattern_are_kept(tmp_path: Path) -> None:
    days = [name_at(tmp_path / PATTERN, datetime(2026, 11, day, 3, 17, tzinfo=UTC)) for day in range(1, 6)]
    unfinished = [days[number].with_name(f"{days[number].name}.partial") for number in (0, 4)]
    others = [tmp_path / name for name in ("topten-.topten", "other-20261101T031700Z.topten", f"{days[0].name}.txt")]
    for path in (*days, *unfinished, *others):
        path.touch()
    assert remove_old(tmp_path / PATTERN, 2, written=days[4]) == sorted([*days[:3], unfinished[0]])
    assert sorted(tmp_path.iterdir()) == sorted([*days[3:], unfinished[1], *others])
    assert remove_old(tmp_path / PATTERN, 9, written=days[4]) == []
    # Made by a clock that was a month ahead: they are the newest, and yet the new one stays.
    ahead = [name_at(tmp_path / PATTERN, datetime(2026, 12, day, 3, 17, tzinfo=UTC)) for day in (1, 2)]
    for path in ahead:
        path.touch()
    assert remove_old(tmp_path / PATTERN, 2, written=days[4]) == [days[3], unfinished[1]]


@pytest.mark.parametrize("pattern", ["monday.topten", "{time}-{time}", "{time}/monday"])
def test_a_pattern_that_cannot_tell_its_files_is_refused(pattern: str) -> None:
    with pytest.raises(BackupError, match=r"\{time\}"):
        check_pattern(Path(pattern), 7)


def test_a_failed_backup_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    file.write_bytes(b"old")

    def write() -> None:
        with replacing(file) as target:
            target.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(BackupError, match="No space left on device"):
        write()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_backup_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    with replacing(tmp_path / "backup") as target:
        target.write(b"new")
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(BackupError, match="no/backup cannot be written: No such file"),
        replacing(tmp_path / "no/backup"),
    ):
        pass
