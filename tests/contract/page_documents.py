"""The GraphQL documents of the page and of its client alone, by digest: `python -m tests.contract.page_documents` writes
both manifests. Packages for other teams carry the second one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from graphql import GraphQLError, parse

from edge.graphql.execution.shared_texts import digest_of
from edge.http.page import FOLDER, PAGE_DOCUMENTS

CLIENT: Final = FOLDER / "client"
CLIENT_DOCUMENTS: Final = Path(__file__).parents[2] / "codegen" / "client" / "documents.json"


def documents_of(folder: Path) -> set[str]:
    """Return every string in a folder's scripts that is a GraphQL document, not a part of others."""
    documents, parts = set(), set()
    for script in folder.rglob("*.js"):
        code = script.read_text()
        constants = _constants_of(code)
        for names, path in re.findall(r'^import \{([^}]*)\} from "(\.[^"]*)";$', code, re.MULTILINE):
            imported = _constants_of((script.parent / path).read_text())
            constants |= {name: imported[name] for name in re.findall(r"\w+", names) if name in imported}
        parts |= {value for name, value in constants.items() if f"${{{name}}}" in code}
        for text in re.findall(r'"([^"\n]*)"|`([^`]*)`', code):
            document = "".join(text)
            for name, value in constants.items():
                document = document.replace(f"${{{name}}}", value)
            try:
                parse(document)
            except GraphQLError:
                continue
            documents.add(document)
    return documents - parts


def _constants_of(code: str) -> dict[str, str]:
    return dict(re.findall(r'^(?:export )?const (\w+) = "([^"]*)";$', code, re.MULTILINE))


def manifest(folder: Path) -> str:
    """Return the manifest of a folder's documents as it is committed."""
    documents = {digest_of(text): text for text in sorted(documents_of(folder))}
    return json.dumps(documents, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE_DOCUMENTS.write_text(manifest(FOLDER))
    CLIENT_DOCUMENTS.write_text(manifest(CLIENT))
