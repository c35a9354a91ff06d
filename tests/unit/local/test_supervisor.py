"""Children: started again when they die, stopped when told, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.local.programs import Program
from services.local.supervisor import ChildFailedError, Supervisor


async def ready() -> None:
    """Ready at once."""


def python(name: str, code: str) -> Program:
    return Program(name, (sys.executable, "-c", code), ready)


async def until_changed(path: Path, before: str) -> str:
    async with asyncio.timeout(10):
        while not path.exists() or path.read_text() in ("", before):
            await asyncio.sleep(0.01)
    return path.read_text()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


async def test_a_child_that_dies_is_started_again_and_the_report_says_which_and_why(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(tmp_path, said.append)
    await supervisor.add(python("sleeper", "import time; print('last words', flush=True); time.sleep(60)"))
    first = await until_changed(tmp_path / "sleeper.pid", "")
    while "last words" not in (tmp_path / "sleeper.log").read_text():
        await asyncio.sleep(0.01)
    os.kill(int(first), signal.SIGKILL)
    second = await until_changed(tmp_path / "sleeper.pid", first)
    await supervisor.stop()
    assert "sleeper was ended by SIGKILL" in said[0]
    assert "last words" in said[0]
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
        while "on" not in (tmp_path / f"{name}.log").read_text():
            await asyncio.sleep(0.01)
    await supervisor.stop()
    assert order.read_text() == "two one "


async def test_a_child_that_never_gets_ready_is_named_with_its_last_words(tmp_path: Path) -> None:
    async def never() -> None:
        raise OSError("nobody listens")

    code = "import time; print('bad luck', flush=True); time.sleep(60)"
    supervisor = Supervisor(tmp_path, print)
    child = await supervisor.add(Program("lame", (sys.executable, "-c", code), never))
    while "bad luck" not in (tmp_path / "lame.log").read_text():
        await asyncio.sleep(0.01)
    with pytest.raises(ChildFailedError, match=r"(?s)lame is not ready.*nobody listens.*bad luck"):
        await child.wait_ready(0)
    await supervisor.stop()


async def test_a_child_that_refuses_its_settings_is_given_up_at_once(tmp_path: Path) -> None:
    async def never() -> None:
        raise OSError("nobody listens")

    said: list[str] = []
    supervisor = Supervisor(tmp_path, said.append)
    code = "import sys; print('no such tick', flush=True); sys.exit(2)"
    child = await supervisor.add(Program("picky", (sys.executable, "-c", code), never))
    with pytest.raises(ChildFailedError, match=r"(?s)picky ended with exit code 2 before it was ready.*no such tick"):
        await child.wait_ready(60)
    assert said == [], "nothing was started again"
    await supervisor.stop()


async def test_a_child_is_started_again_though_nobody_can_be_told(tmp_path: Path) -> None:
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


def test_children_may_open_as_many_files_as_the_system_allows() -> None:
    code = """
import resource
from services.local.supervisor import MAX_OPEN_FILES, allow_many_connections
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
from services.local.programs import Program
from services.local.supervisor import Supervisor
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
    deadline = os.times().elapsed + 10
    while is_alive(orphan):
        assert os.times().elapsed < deadline, "the child outlived its supervisor"
