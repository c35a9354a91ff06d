"""`make bench`: every measurement, one table each."""

from __future__ import annotations

import asyncio

from rich.console import Console

from tests.bench import answers


def main() -> None:
    """Measure and print."""
    console = Console()
    for table in asyncio.run(answers.measure()):
        console.print(table)


if __name__ == "__main__":
    main()
