"""QTI 1.2, 2 and 3 (imsglobal.org/question): a file, or a package as Canvas and others export it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.assembly import assemble
from services.quiz.formats.draft import Item, QuizDraft, Text
from services.quiz.formats.markup import first, found, parse, root_of, tag
from services.quiz.formats.package import Package, is_package, xml_names
from services.quiz.formats.qti import qti1, qti2
from services.quiz.formats.report import QuizReport
from services.quiz.formats.source import FormatError, Source

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

TITLE: Final = "QTI and Canvas"
SUFFIX: Final = ".zip"
_MANIFEST: Final = "manifest"
_ITEM: Final = "assessmentitem"
_TEST: Final = "assessmenttest"
_LEGACY: Final = "questestinterop"
_ROOTS: Final = frozenset((_ITEM, _LEGACY))
_COPY: Final = re.compile(r"non_cc_assessments/")


def recognizes(source: Source) -> bool:
    """Whether the root is an item or an assessment, or there is one in the package."""
    if not is_package(source.content):
        return root_of(source.content) in _ROOTS
    try:
        package = Package(source.content)
        return any(root_of(package.content(name)) in _ROOTS for name in xml_names(package))
    except FormatError:
        return False


def read(source: Source) -> list[QuizReport]:
    """Read every question: those of an assessment as its quiz, items without one as one quiz in the package's order."""
    if not is_package(source.content):
        root = parse(source.content)
        drafts = qti1.read_assessments(root) if tag(root) == _LEGACY else [QuizDraft([qti2.read_item(root, "item 1")])]
        return assemble(drafts, source.name)
    return assemble(_Package(Package(source.content)).drafts(), source.name)


def write(definition: quiz_pb2.QuizDefinition) -> bytes:
    """Write a package of QTI 2.1: title, questions with ids, points, right answers and explanations."""
    from services.quiz.formats.qti.qti_writing import package_of

    return package_of(definition)


class _Package:
    """The parts of a package, by their roots. A part that is damaged is an item that is refused."""

    def __init__(self, package: Package) -> None:
        self._roots: dict[str, Element] = {}
        self._damaged: list[Item] = []
        for name in xml_names(package):
            try:
                content = package.content(name)
                if root_of(content) in {_MANIFEST, _TEST, "quiz", *_ROOTS}:
                    self._roots[name] = parse(content)
            except FormatError as error:
                self._damaged.append(Item(name[:100], fault=str(error)))

    def drafts(self) -> list[QuizDraft]:
        drafts = [*self._assessments(), self._loose()]
        if self._damaged:
            next((each for each in drafts if each.items), drafts[-1]).items.extend(self._damaged)
        return drafts

    def _assessments(self) -> Iterator[QuizDraft]:
        """Yield the quizzes of QTI 1.2. Canvas has each twice: the copy that keeps more is that for itself."""
        chosen: dict[str, Element] = {}
        for name, root in sorted(self._of(_LEGACY), key=lambda each: not _COPY.search(each[0])):
            assessment = first(root, "assessment")
            chosen.setdefault(name if assessment is None else assessment.get("ident") or name, root)
        settings = {root.get("identifier", ""): root for _, root in self._of("quiz")}
        for ident, root in chosen.items():
            for draft in qti1.read_assessments(root):
                if (meta := settings.get(ident)) is not None:
                    qti1.apply_settings(draft, meta)
                yield draft

    def _loose(self) -> QuizDraft:
        """Return the quiz of the items of QTI 2 and 3."""
        draft = QuizDraft()
        items = dict(self._of(_ITEM))
        for _, test in self._of(_TEST):
            draft.title = Text(test.get("title", ""))
        draft.items = [qti2.read_item(items[name], name[:100]) for name in self._ordered(items)]
        return draft

    def _ordered(self, items: dict[str, Element]) -> list[str]:
        """Return the names of items: in the order of the test, then of the manifest, then of the package."""
        by_file = {name.rpartition("/")[2]: name for name in items}
        listed = [each.get("href", "") for _, test in self._of(_TEST) for each in found(test, "assessmentitemref")]
        for _, manifest in self._of(_MANIFEST):
            listed += [each.get("href", "") for each in found(manifest, "resource")]
        names = [by_file.get(unquote(href).rpartition("/")[2], "") for href in listed]
        return list(dict.fromkeys([*filter(None, names), *items]))

    def _of(self, root: str) -> list[tuple[str, Element]]:
        return [(name, each) for name, each in self._roots.items() if tag(each) == root]
