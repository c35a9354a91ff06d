"""Texts of other systems as the plain text of a quiz: HTML without its tags, line feeds alone, NFC.

What could change the meaning is refused (an image that nothing describes), everything else that is lost is named.
"""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser
from typing import Final

from services.quiz.formats.draft import Text
from services.runtime.texts import fault_of

MAX_MARKUP: Final = 16 * 1024
_BLOCKS: Final = frozenset(
    "address article blockquote br caption dd div dl dt figcaption figure footer h1 h2 h3 h4 h5 h6 header hr li ol p pre "
    "section table tbody tfoot thead tr ul".split()
)
# They become line feeds or keep them, by which nothing is lost.
_PARAGRAPHS: Final = frozenset(("br", "div", "p", "pre"))
_UNSEEN: Final = frozenset(("script", "style", "head", "template"))
_MEDIA: Final = frozenset("audio canvas embed iframe object svg video".split())
# Stands for a preformatted text while white space of the rest is collapsed. No text has this character by then.
_KEPT: Final = "\x01"
_UNENDED: Final = re.compile(r"<(?=[^<>]*(?:<|\Z))")
_TAG: Final = re.compile(r"</?[A-Za-z][^<>]*>")


class TextFault(ValueError):  # noqa: N818  # the fault of a text, as in `fault_of`
    """Why a text cannot be taken."""


def plain(text: Text) -> tuple[str, list[str]]:
    """Return the plain text, without white space around it, and what was changed. Raises TextFault."""
    if fault := fault_of(text.raw.replace("\r\n", "\n"), lines=True):
        raise TextFault(fault)
    changes: list[str] = []
    value = text.raw.replace("\r\n", "\n")
    if text.markup:
        if len(value) > MAX_MARKUP:
            raise TextFault(f"must have at most {MAX_MARKUP} characters of HTML")
        value, changes = _without_markup(value)
    value = value.strip()
    normalized = unicodedata.normalize("NFC", value)
    if normalized != value:
        changes.append("letters were composed (NFC)")
    if fault := fault_of(normalized, lines=True):
        raise TextFault(fault)
    return normalized, changes


def has_tags(raw: str) -> bool:
    """Whether a text that may be HTML has a tag."""
    return _TAG.search(raw) is not None


def _without_markup(raw: str) -> tuple[str, list[str]]:
    parser = _Parser()
    try:
        # Tags that never end cost the parser the square of their number.
        parser.feed(_UNENDED.sub("&lt;", _without_comments(raw)))
        parser.close()
    except AssertionError:  # the parser's own way to say that a declaration is malformed
        raise TextFault("must be well-formed HTML") from None
    text = "".join(parser.parts)
    text = re.sub(r"[^\S\n\t]*\n\s*", "\n", re.sub(r"[^\S\n\t]+", " ", text)).strip()
    kept = iter(parser.kept)
    return re.sub(_KEPT, lambda _: next(kept), text).strip("\n"), list(dict.fromkeys(parser.changes))


def _without_comments(raw: str) -> str:
    parts: list[str] = []
    at = 0
    while (start := raw.find("<!--", at)) >= 0 and (end := raw.find("-->", start + 4)) >= 0:
        parts.append(raw[at:start])
        at = end + 3
    return "".join([*parts, raw[at:]])


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.changes: list[str] = []
        self.kept: list[str] = []
        """Preformatted texts, in order."""
        self._unseen = self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if attrs or tag not in _PARAGRAPHS:
            self.changes.append("HTML became plain text")
        if tag == "img":
            self._image(dict(attrs))
        elif tag in _MEDIA:
            raise TextFault(f"has {tag}, which a quiz cannot show")
        elif tag == "input":
            raise TextFault("has a field to fill in")
        elif tag in {"sup", "sub"}:
            self.parts.append("^" if tag == "sup" else "_")  # 10² is not 102
        elif tag in {"td", "th"}:
            self.parts.append("\t")
        elif tag in _BLOCKS:
            self.parts.append("\n")
        self._unseen += tag in _UNSEEN
        self._preformatted += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.parts.append("\n")
        self._unseen = max(0, self._unseen - (tag in _UNSEEN))
        self._preformatted = max(0, self._preformatted - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        fault = fault_of(data.replace("\r", ""), lines=True)
        if fault and data.strip():
            raise TextFault(fault)
        if self._preformatted:
            self.parts.append(_KEPT)
            self.kept.append(data)
        else:
            self.parts.append(re.sub(r"\s+", " ", data))

    def _image(self, attributes: dict[str, str | None]) -> None:
        alternative = attributes.get("alt")
        if alternative is None:
            raise TextFault("has an image without a description (alt), which a quiz cannot show")
        self.changes.append("an image was left out" if not alternative.strip() else "an image became its description")
        self.parts.append(f"[{alternative.strip()}]" if alternative.strip() else "")
