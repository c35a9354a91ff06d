"""XML of a file: parsed without entities and references, within bounds, and its text as HTML for `plain_text`."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from services.quiz.formats.draft import Text
from services.quiz.formats.source import FormatError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_DEPTH: Final = 60
MAX_ELEMENTS: Final = 100_000
_HEAD_BYTES: Final = 8192
# What may stand before the root: declaration, comments, document type.
_BEFORE: Final = r"\s*(?><\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>)"
_ROOT: Final = re.compile(rf"(?>{_BEFORE})*\s*<(?:[\w.-]+:)?([\w.-]+)", re.DOTALL)


def root_of(content: bytes) -> str:
    """Return the name of the root element by the first bytes, as `tag` does; empty if there is none."""
    head = content[:_HEAD_BYTES].replace(b"\0", b"").decode("latin-1").lstrip("\xef\xbb\xbf\xff\xfe")
    match = _ROOT.match(head)
    return _word(match[1]) if match else ""


def parse(content: bytes) -> Element:
    """Return the root element. Raises FormatError for what is not well-formed, declares entities, or is too large."""
    from xml.etree.ElementTree import ParseError

    from defusedxml.ElementTree import iterparse

    root: Element | None = None
    depth = elements = 0
    try:
        for event, element in iterparse(io.BytesIO(content), events=("start", "end")):
            if event == "end":
                depth -= 1
                continue
            root = element if root is None else root
            depth += 1
            elements += 1
            if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
                raise FormatError(f"$: must have at most {MAX_ELEMENTS} elements, {MAX_DEPTH} deep")
    except FormatError:
        raise
    except ParseError as error:
        raise FormatError(
            f"line {error.position[0]}: must be well-formed XML ({str(error).partition(':')[0]})"
        ) from None
    except (ValueError, LookupError) as error:  # entities are a ValueError, an unknown encoding is a LookupError
        raise FormatError(f"$: must be XML without entities, in a known encoding ({type(error).__name__})") from None
    assert root is not None, "a document without an element is not well-formed"
    return root


def tag(element: Element) -> str:
    """Return the name of an element without its namespace, in lower case, and as QTI 2 calls what QTI 3 renamed."""
    return _word(element.tag) if isinstance(element.tag, str) else ""


def found(element: Element, name: str) -> Iterator[Element]:
    """Yield the elements below one that have a name, in order."""
    return (each for each in element.iter() if each is not element and tag(each) == name)


def first(element: Element, *names: str) -> Element | None:
    """Return the first element on a path of names below one."""
    for name in names:
        step = next(found(element, name), None)
        if step is None:
            return None
        element = step
    return element


def content_of(element: Element | None) -> str:
    """Return the text in an element and in those below it."""
    return "" if element is None else "".join(element.itertext()).strip()


def inner_html(element: Element | None, *, without: Collection[str] = ()) -> Text:
    """Return what is in an element as HTML, without elements of some names."""
    if element is None:
        return Text("")
    parts: list[str] = []
    _write(element, parts, without)
    return Text("".join(parts), markup=True)


def _write(element: Element, parts: list[str], without: Collection[str]) -> None:
    parts.append(html.escape(element.text or ""))
    for child in element:
        name = tag(child)
        if name and name not in without:
            attributes = "".join(
                f' {key}="{html.escape(value)}"' for key in ("alt",) if (value := child.get(key)) is not None
            )
            parts.append(f"<{name}{attributes}>")
            _write(child, parts, without)
            parts.append(f"</{name}>")
        parts.append(html.escape(child.tail or ""))


def _word(name: str) -> str:
    return name.rpartition("}")[2].lower().removeprefix("qti-").replace("-", "")
