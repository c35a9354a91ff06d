"""The JSON of Open Trivia DB (opentdb.com/api_config.php), in each of its encodings."""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

from services.quiz.formats.assembly import assemble
from services.quiz.formats.draft import TRUE_FALSE, Choice, Item, QuizDraft, Text
from services.quiz.formats.report import QuizReport
from services.quiz.formats.source import FormatError, Object, Source

TITLE: Final = "Open Trivia DB JSON"
_ENCODED_KINDS: Final = {base64.b64encode(kind.encode()).decode(): kind for kind in ("multiple", "boolean")}
_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")


def recognizes(source: Source) -> bool:
    """Whether it is a JSON object with `response_code` or `results`."""
    if not source.begins_with("{"):
        return False
    try:
        document = source.document
    except FormatError:
        return False
    return isinstance(document, Object) and bool(document.keys() & {"response_code", "results"})


def read(source: Source) -> list[QuizReport]:
    """Read every result. Options are in the order of their texts: the file has the right one apart."""
    results = source.document.get("results")
    if not isinstance(results, list):
        raise FormatError("results: must be a list")
    draft = QuizDraft(items=[_item(f"results[{index}]", each) for index, each in enumerate(results)])
    return assemble([draft], source.name)


def _item(place: str, result: Any) -> Item:
    item = Item(place)
    if not isinstance(result, Object):
        item.fault = "must be an object"
    elif result.repeated:
        item.fault = f"the key {result.repeated[0][:64]!a} is there twice"
    else:
        try:
            _fill(item, result)
        except (ValueError, binascii.Error) as error:
            item.fault = str(error)
    return item


def _fill(item: Item, result: Object) -> None:
    decode: Callable[[str], str] = html.unescape
    kind = _str(result, "type")
    if (encoded := _ENCODED_KINDS.get(kind)) is not None:
        decode, kind = _base64, encoded
    wrong = result.get("incorrect_answers")
    if not isinstance(wrong, list) or not all(isinstance(text, str) for text in wrong):
        raise ValueError("incorrect_answers: must be a list of texts")
    texts = [_str(result, "question"), _str(result, "correct_answer"), *wrong]
    if decode is html.unescape and " " not in "".join(texts) and any(_PERCENT.search(text) for text in texts):
        decode = unquote
    question, right, *wrong = map(decode, texts)
    item.text = Text(question)
    if kind == "boolean":
        item.kind, item.truth = TRUE_FALSE, {"true": True, "false": False}.get(right.strip().lower())
    elif kind == "multiple":
        choices = [Choice(Text(right), 1), *(Choice(Text(text)) for text in wrong)]
        item.choices = sorted(choices, key=lambda choice: (choice.text.raw.casefold(), choice.text.raw))
    else:
        item.kind = kind[:64]


def _str(result: Object, key: str) -> str:
    value = result.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key}: must be text")
    return value


def _base64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        raise ValueError("must be base64 of UTF-8, like its type") from None
