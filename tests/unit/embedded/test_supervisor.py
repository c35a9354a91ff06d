"""Children: restarted when they die, stopped in order, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.embedded.programs import Program
from services.embedded.supervisor import ChildFailedError, Supervisor
from tests.deadline import deadline_seconds, eventually, poll


async def ready() -> None:
    """Ready at once."""


def python(name: str, code: str) -> Program:
    return Program(name, (sys.executable, "-c", code), ready)


async def until_changed(path: Path, before: str) -> str:
    async def changed() -> str:
        text = path.read_text() if path.exists() else ""
        return "" if text == before else text

    return await eventually(changed, f"{path.name} changed")


async def until_printed(log: Path, text: str) -> None:
    async def printed() -> bool:
        return text in log.read_text()

    await eventually(printed, f"{text!r} in {log.name}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


async def test_a_killed_child_is_restarted_and_reported_with_its_cause_and_last_output(tmp_path: Path) -> None:
    reports: list[str] = []
    supervisor = Supervisor(tmp_path, reports.append)
    await supervisor.add(python("sleeper", "import time; print('last words', flush=True); time.sleep(60)"))
    first = await until_changed(tmp_path / "sleeper.pid", "")
    await until_printed(tmp_path / "sleeper.log", "last words")
    os.kill(int(first), signal.SIGKILL)
    second = await until_changed(tmp_path / "sleeper.pid", first)
    await supervisor.stop()
    assert "sleeper was killed by SIGKILL" in reports[0]
    assert "last words" in reports[0]
    assert not is_alive(int(first))
    assert not is_alive(int(second))


async def test_children_stop_last_added_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        f"def stop(*_):\n    open({str(order)!r}, 'a').write(sys.argv[1] + ' '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop); print('on', flush=True)\nwhile True: time.sleep(1)"
    )
    supervisor = Supervisor(tmp_path, print)
    for name in ("one", "two"):
        await supervisor.add(Program(name, (sys.executable, "-c", code, name), ready))
        await until_printed(tmp_path / f"{name}.log", "on")
    await supervisor.stop()
    assert order.read_text() == "two one "


async def test_a_child_that_is_not_ready_in_time_is_reported_with_its_last_output(tmp_path: Path) -> None:
    async def never() -> None:
        raise OSError("nobody listens")

    code = "import time; print('bad luck', flush=True); time.sleep(60)"
    supervisor = Supervisor(tmp_path, print)
    child = await supervisor.add(Program("lame", (sys.executable, "-c", code), never))
    await until_printed(tmp_path / "lame.log", "bad luck")
    with pytest.raises(ChildFailedError, match=r"(?s)lame is not ready.*nobody listens.*bad luck"):
        await child.wait_ready(0)
    await supervisor.stop()


async def test_a_child_that_refuses_its_settings_is_not_restarted(tmp_path: Path) -> None:
    async def never() -> None:
        raise OSError("nobody listens")

    reports: list[str] = []
    supervisor = Supervisor(tmp_path, reports.append)
    code = "import sys; print('no such tick', flush=True); sys.exit(2)"
    child = await supervisor.add(Program("picky", (sys.executable, "-c", code), never))
    with pytest.raises(ChildFailedError, match=r"(?s)picky exited with code 2 before it was ready.*no such tick"):
        await child.wait_ready(60)
    assert reports == []
    await supervisor.stop()


async def test_a_child_is_restarted_after_the_terminal_is_gone(tmp_path: Path) -> None:
    def gone(_: str) -> None:
        raise BrokenPipeError

    supervisor = Supervisor(tmp_path, gone)
    await supervisor.add(python("sleeper", "import time; time.sleep(60)"))
    first = await until_changed(tmp_path / "sleeper.pid", "")
    os.kill(int(first), signal.SIGKILL)
    assert await until_changed(tmp_path / "sleeper.pid", first)
    await supervisor.stop()


async def test_a_setting_given_by_value_is_not_also_given_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOPTEN_MONGO_URL_FILE", "elsewhere")
    monkeypatch.setenv("TOPTEN_REDIS_URL_FILE", "kept")
    code = (
        "import os, time\nprint(*sorted(k for k in os.environ if k.startswith('TOPTEN_')), flush=True); time.sleep(60)"
    )
    program = Program("shows", (sys.executable, "-c", code), ready, {"TOPTEN_MONGO_URL": "here"})
    supervisor = Supervisor(tmp_path, print)
    await supervisor.add(program)
    assert await until_changed(tmp_path / "shows.log", "") == "TOPTEN_MONGO_URL TOPTEN_REDIS_URL_FILE\n"
    await supervisor.stop()


def test_children_can_open_as_many_files_as_the_system_allows() -> None:
    code = """
import resource
from services.embedded.supervisor import MAX_OPEN_FILES, allow_many_connections
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
allow_many_connections()
soft, still = resource.getrlimit(resource.RLIMIT_NOFILE)
assert still == hard and (soft == hard or soft == MAX_OPEN_FILES), (soft, hard)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_supervisor_that_is_killed_leaves_no_orphan(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from services.embedded.programs import Program
from services.embedded.supervisor import Supervisor
async def ready(): pass
async def main():
    supervisor = Supervisor(Path({str(tmp_path)!r}), print)
    await supervisor.add(Program("orphan", (sys.executable, "-c", "import time; time.sleep(600)"), ready))
    print("started", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    supervisor = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == "started\n"
    orphan = int((tmp_path / "orphan.pid").read_text())
    assert is_alive(orphan)
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    poll(lambda: not is_alive(orphan), "the kernel killed the child")


def test_a_child_of_a_background_supervisor_stops_by_sigint_and_sighup(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, signal, sys
from pathlib import Path
from services.embedded.programs import Program
from services.embedded.supervisor import Supervisor
async def ready(): pass
async def main():
    reports = asyncio.Queue()
    supervisor = Supervisor(Path({str(tmp_path)!r}), reports.put_nowait)
    for number in (signal.SIGINT, signal.SIGHUP):
        await supervisor.add(Program(number.name, ("sleep", "600"), ready))
        os.kill(int((Path({str(tmp_path)!r}) / f"{{number.name}}.pid").read_text()), number)
        print(await reports.get())
    await supervisor.stop()
asyncio.run(main())
"""
    # As a shell starts background jobs, and nohup everything.
    background = ("sh", "-c", 'trap \'\' INT HUP; exec "$0" "$@"', sys.executable, "-c", code)
    done = subprocess.run(background, capture_output=True, text=True, timeout=deadline_seconds(), check=True)
    assert "killed by SIGINT" in done.stdout
    assert "killed by SIGHUP" in done.stdout
