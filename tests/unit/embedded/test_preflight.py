"""The preflight: everything that is missing is named at once, before anything is installed or started."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.embedded import preflight
from services.embedded.external_stores import find_problem
from services.embedded.preflight import (
    MIB,
    STORES,
    Problem,
    check_data_folder,
    check_port,
    check_reachable,
    check_stack,
    report,
    store_addresses,
    stream_space,
)
from tests.servers import HOST, free_port


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run as a file by an interpreter without site packages, as on a bare machine."""
    return subprocess.run(
        [sys.executable, "-I", "-S", preflight.__file__, *arguments], capture_output=True, text=True, check=False
    )


def test_preflight_passes_without_any_package_installed(tmp_path: Path) -> None:
    done = run("--port", str(free_port()), "--data", str(tmp_path / "new"))
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "new").exists()


def test_all_problems_are_reported_at_once_with_one_install_command(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.create_server((HOST, 0)) as listener:
        taken = listener.getsockname()[1]
        missing = ("--library", "libabsent.so.1=libabsent1", "--program", "absent=absent-tools")
        done = run("--port", str(taken), "--data", str(tmp_path / "file" / "data"), *missing)
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    for name in ("libabsent.so.1", "program absent", f"Port {taken}", str(tmp_path / "file" / "data")):
        assert sum(name in line for line in lines) == 1, lines
    assert lines[-1].endswith("apt-get install --yes absent-tools libabsent1")
    assert len(lines) == 5


def test_a_package_is_installed_once_however_many_problems_it_solves() -> None:
    lines = report([Problem("one", "libssl3"), Problem("two", "libssl3"), Problem("three")])
    assert lines[:3] == ["one", "two", "three"]
    assert lines[3].endswith("apt-get install --yes libssl3")
    assert report([]) == []


def test_libraries_are_checked_only_for_the_stores_that_are_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(preflight, "MONGOD_LIBRARIES", {"libabsent.so": "libabsent"})
    server = socket.create_server((HOST, 0))
    request.addfinalizer(server.close)
    listening = server.getsockname()[1]
    without_programs = {"PATH": str(tmp_path)}
    named = without_programs | {"TOPTEN_MONGO_URL": f"mongodb://{HOST}:{listening}/"}
    unreadable = without_programs | {"TOPTEN_MONGO_URL_FILE": str(tmp_path / "absent")}
    installed = tmp_path / "bin"
    installed.mkdir()
    (installed / "mongod").touch(mode=0o700)
    port = free_port()
    assert [problem.package for problem in check_stack(port, tmp_path, without_programs)] == ["libabsent"]
    assert check_stack(port, tmp_path, named) == []
    (problem,) = check_stack(port, tmp_path, unreadable)
    assert "TOPTEN_MONGO_URL_FILE cannot be read" in problem.text
    assert check_stack(port, tmp_path, {"PATH": str(installed)}) == []
    # Extension modules need theirs whatever stores are used.
    monkeypatch.setattr(preflight, "PYTHON_LIBRARIES", {"libabsent.so": "libabsent"})
    assert [problem.package for problem in check_stack(port, tmp_path, named)] == ["libabsent"]


def test_a_full_disk_is_reported_with_its_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "MIN_FREE_BYTES", shutil.disk_usage(tmp_path).total + 1)
    (problem,) = check_data_folder(tmp_path / "not" / "yet", {})
    assert "MiB of free space" in problem.text
    monkeypatch.setattr(preflight, "MIN_FREE_BYTES", shutil.disk_usage(tmp_path).free + 64 * MIB)
    (tmp_path / "mongo").mkdir()
    assert check_data_folder(tmp_path, {})
    (tmp_path / "mongo" / "journal").write_bytes(bytes(16))
    os.truncate(tmp_path / "mongo" / "journal", 4 * 1024 * MIB)  # sparse: it is there already, and takes no space here
    assert check_data_folder(tmp_path, {}) == [], "what MongoDB has preallocated is not needed again"


def test_a_port_in_time_wait_is_free() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((HOST, port)):
            listener.accept()[0].close()
    assert check_port(port) == []


@pytest.mark.parametrize("port", ["99999", "abc", "-1", ""])
def test_what_is_not_a_port_is_told_in_one_line(port: str, tmp_path: Path) -> None:
    (line,) = run(f"--port={port}", "--data", str(tmp_path)).stderr.splitlines()
    assert line.endswith(
        "is not a port, which is a number from 1 to 65535. Choose another with --port (PORT= with make)."
    )


def test_a_file_system_that_takes_no_files_is_named() -> None:
    (problem,) = check_data_folder(Path("/proc/topten"), {})
    assert problem.text.startswith("The data folder /proc/topten cannot be written: /proc takes no files.")


def test_a_stream_larger_than_its_disk_is_refused_with_both_sizes(tmp_path: Path) -> None:
    space = stream_space(tmp_path / "nats")
    setting = "TOPTEN_QUIZ_STREAM_MAX_BYTES"
    (problem,) = check_data_folder(tmp_path, {setting: str(space * 4)})
    assert (
        f"{setting}={space * 4} is {space * 4 // MIB} MiB; the disk of the data folder {tmp_path} has room"
        in problem.text
    )
    assert check_data_folder(tmp_path, {setting: str(1 << 20)}) == []
    elsewhere = {setting: str(space * 4), "TOPTEN_NATS_URL": "nats://elsewhere"}
    assert check_data_folder(tmp_path, elsewhere) == [], "the server of a URL has its own disk"


def test_existing_data_of_the_stream_counts_as_room(tmp_path: Path) -> None:
    (tmp_path / "1.blk").write_bytes(bytes(MIB))
    free = shutil.disk_usage(tmp_path).free
    assert abs(stream_space(tmp_path) - (MIB + free // 2)) < 256 * MIB, "others write to the disk as well"


@pytest.mark.parametrize(
    ("store", "url", "addresses"),
    [
        ("mongo", "mongodb://u:p%2F@a:1,b,[::1]:3/?replicaSet=x", [("a", 1), ("b", 27017), ("::1", 3)]),
        ("mongo", "mongodb+srv://u:p@cluster.example/", []),
        ("mongo", "mongodb://%2Ftmp%2Fmongo.sock/", []),
        ("redis", "rediss+sentinel://:p@s:1,t/master", [("s", 1), ("t", 26379)]),
        ("redis", "redis+cluster://:p@a,b:2", [("a", 6379), ("b", 2)]),
        ("nats", "nats://u:p@a:1, nats://u:q@b", [("a", 1), ("b", 4222)]),
        ("nats", "a:1", [("a", 1)]),
    ],
)
def test_the_servers_of_a_url_are_found(store: str, url: str, addresses: list[tuple[str, int]]) -> None:
    assert store_addresses(store, url) == addresses


@pytest.mark.parametrize(
    ("store", "url", "message"),
    [
        ("mongo", f"{HOST}:27017", "TOPTEN_MONGO_URL must begin with mongodb:// or mongodb+srv://."),
        ("mongo", "mango://u:s3cret@a", "TOPTEN_MONGO_URL must begin with mongodb:// or mongodb+srv://."),
        ("redis", "http://:s3cret@a", "TOPTEN_REDIS_URL must begin with redis:// or rediss://."),
        ("nats", "http://u:s3cret@a", "TOPTEN_NATS_URL must begin with nats:// or tls://."),
    ],
)
def test_a_url_of_something_else_is_told_by_how_it_must_begin(store: str, url: str, message: str) -> None:
    assert [problem.text for problem in check_reachable(store, url)] == [message]


@pytest.mark.parametrize(
    ("store", "url", "reason"),
    [
        ("mongo", "mongodb://u:s3cret@a:notaport", "Port contains non-digit characters."),
        ("mongo", "mongodb://", "Must provide at least one hostname or IP"),
        ("redis", "redis://:s3cret@a:notaport", "must be an address host:port"),
        ("nats", "nats://u:s3cret@a:notaport", "it has no valid host and port"),
    ],
)
async def test_a_url_that_no_driver_takes_is_one_line_without_its_password(store: str, url: str, reason: str) -> None:
    problem = await find_problem(store, url)
    name = STORES[store]
    assert problem.startswith(f"{name} cannot be used by TOPTEN_{store.upper()}_URL: {reason}"), problem
    assert "s3cret" not in problem


def test_an_unreachable_store_is_one_line_without_its_password(tmp_path: Path) -> None:
    port = free_port()
    (problem,) = check_stack(
        free_port(), tmp_path, {"TOPTEN_REDIS_URL": f"redis://:s3cret@{HOST}:{port}/0", **os.environ}
    )
    assert f"Redis cannot be reached at {HOST}:{port} (Connection refused)." in problem.text
    assert "TOPTEN_REDIS_URL" in problem.text
    assert "s3cret" not in problem.text


@pytest.mark.parametrize(
    ("system", "machine", "command"),
    [
        ("darwin", "arm64", "brew tap mongodb/brew"),
        ("freebsd", "amd64", "Put it on PATH"),
        ("linux", "riscv64", "PATH"),
    ],
)
def test_a_system_without_wheels_is_told_how_to_get_each_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, machine: str, command: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    texts = [problem.text for problem in check_stack(free_port(), tmp_path, {"PATH": str(tmp_path)})]
    mongo = next(text for text in texts if "mongod" in text)
    assert command in mongo
    assert mongo.endswith("name a server with TOPTEN_MONGO_URL.")
    for program in ("mongod", "redis-server", "nats-server"):
        (tmp_path / program).touch(mode=0o700)
    assert check_stack(free_port(), tmp_path, {"PATH": str(tmp_path)}) == [], "servers on PATH need no wheel"
