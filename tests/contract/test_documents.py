"""The GraphQL on the pages: every document and every field that is named as a call exists as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from graphql import DocumentNode, FragmentDefinitionNode, parse, validate

from edge.graphql.schema import executable_schema

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for folder in ("docs", "codegen")
    for page in (ROOT / folder).rglob("*.md")
    if "node_modules" not in page.parts and "adr" not in page.parts
)
DOCUMENT = re.compile(r"^```graphql[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# `field(argument, other: value)`, perhaps with a selection, in a sentence. `use…` are hooks of the browser client.
CALL = re.compile(r"`((?!use[A-Z])[a-z]\w+)\(([^()`]*)\)(?: \{[^`]*\})?`")


def documents(page: Path) -> list[str]:
    return DOCUMENT.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [page for page in PAGES if documents(page)], ids=lambda page: page.stem)
def test_every_document_on_a_page_is_valid(page: Path) -> None:
    for text in documents(page):
        definitions = parse(text).definitions
        fragments = [one for one in definitions if isinstance(one, FragmentDefinitionNode)]
        for operation in definitions:
            if operation not in fragments:
                alone = DocumentNode(definitions=(operation, *fragments))
                assert [str(error) for error in validate(executable_schema(), alone)] == []


def test_every_call_in_the_text_names_a_field_and_its_arguments() -> None:
    schema = executable_schema()
    roots = [root.fields for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root]
    wrong = []
    page = ROOT / "docs" / "app-developer.md"
    for name, arguments in CALL.findall(page.read_text(encoding="utf-8")):
        fields = [fields[name] for fields in roots if name in fields]
        given = re.sub(r":[^,]*", "", re.sub(r"\{.*\}|\"[^\"]*\"", "", arguments)).replace(",", " ").split()
        if not fields or not any(set(given) <= field.args.keys() for field in fields):
            wrong.append(f"{name}({arguments})")
    assert not wrong
