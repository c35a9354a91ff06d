"""Which reads of MongoDB have no end that is known before: MongoDB would end them after the timeout of one operation."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Each with the reason why its reads are short.
BOUNDED = {"services/score/ledger/shown_rows.py:at": "of a hundred players the rows at certain times"}
READERS = ("services/score", "services/quiz", "services/identity", "services/leaderboard")


def generators(tree: ast.Module) -> Iterator[ast.AsyncFunctionDef]:
    for each in ast.walk(tree):
        if isinstance(each, ast.AsyncFunctionDef) and any(isinstance(inner, ast.Yield) for inner in ast.walk(each)):
            yield each


def called(node: ast.AST) -> str:
    """The name of the method or function that a call calls; empty for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def covered(function: ast.AsyncFunctionDef) -> set[ast.AST]:
    """What is read by `every_document`, by name or in place, or opened as a long operation."""
    found: set[ast.AST] = set()
    for each in ast.walk(function):
        if called(each) == "every_document":
            found.update(ast.walk(each))
        if isinstance(each, ast.With) and any(called(item.context_expr) == "long_operation" for item in each.items):
            found.update(ast.walk(each))
    names = {each.id for each in found if isinstance(each, ast.Name)}
    for each in ast.walk(function):
        if isinstance(each, ast.Assign) and any(isinstance(to, ast.Name) and to.id in names for to in each.targets):
            found.update(ast.walk(each))
    return found


def test_what_yields_documents_reads_them_however_many_there_are() -> None:
    seen = 0
    wrong: set[str] = set()
    for folder in READERS:
        for path in (ROOT / folder).rglob("*.py"):
            for function in generators(ast.parse(path.read_text())):
                calls = [each for each in ast.walk(function) if isinstance(each, ast.Call)]
                reads = [each for each in calls if called(each) in {"find", "aggregate"}]
                seen += len(reads)
                within = covered(function)
                if not within.issuperset(reads):
                    wrong.add(f"{path.relative_to(ROOT)}:{function.name}")
    assert seen > 8
    assert wrong == BOUNDED.keys()
