r"""GIFT (docs.moodle.org/en/GIFT_format): questions apart by empty lines, answers in braces.

Escapes are `\~ \= \# \{ \} \: \\` and `\n`. `$CATEGORY:` begins a quiz of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.assembly import assemble
from services.quiz.formats.decimals import decimal, middle
from services.quiz.formats.draft import (
    MATCHING,
    MULTIPLE_CHOICE,
    NUMERIC,
    SHORT_TEXT,
    TRUE_FALSE,
    Choice,
    Item,
    QuizDraft,
    Text,
    by_text,
)
from services.quiz.formats.gift.gift_writing import escaped, written_answers
from services.quiz.formats.plain_text import has_tags
from services.quiz.formats.report import QuizReport
from services.quiz.formats.source import Source
from services.runtime.texts import fault_of

TITLE: Final = "GIFT"
SUFFIX: Final = ".gift"
_ESCAPED: Final = re.compile(r"\\([\\~=#{}:n])")
# Control characters stand for escaped ones while a block is taken apart; a block that has any is refused before.
_STAND_INS: Final = {character: chr(index) for index, character in enumerate("\\~=#{}:n")}
_RESTORED: Final = str.maketrans({stand_in: "\n" if each == "n" else each for each, stand_in in _STAND_INS.items()})
_NAME: Final = re.compile(r"::(.*?)::", re.DOTALL)
_FORMAT: Final = re.compile(r"\[(html|moodle|plain|markdown)\]", re.IGNORECASE)
_TRUTH: Final = re.compile(r"(TRUE|T|FALSE|F)\s*(#.*)?", re.IGNORECASE | re.DOTALL)
_CHOICE: Final = re.compile(r"([~=])([^~=]*)")
_WEIGHT: Final = re.compile(r"\s*%(-?\d{1,3}(?:\.\d{1,9})?)%")
_CATEGORY: Final = re.compile(r"\$CATEGORY:(.*)", re.IGNORECASE)
_LOOKS: Final = re.compile(r"^[ \t]*(::.*::|\$CATEGORY:)|(?<!\\)\{[^{}]*(?<!\\)\}", re.MULTILINE)


def recognizes(source: Source) -> bool:
    """Whether there is a name, a category or an answer in braces."""
    return source.is_text and bool(_LOOKS.search(source.text))


def read(source: Source) -> list[QuizReport]:
    """Read every question, by category."""
    drafts = [QuizDraft()]
    for number, block in _blocks(source.text):
        lines = block
        if category := _CATEGORY.match(lines[0].strip()):
            drafts.append(QuizDraft(title=Text(category_title(category[1]))))
            lines = lines[1:]
        if any(lines):
            drafts[-1].items.append(_item(number + len(block) - len(lines), "\n".join(lines)))
    return assemble(drafts, source.name)


def write(definition: quiz_pb2.QuizDefinition) -> bytes:
    """Write title, question ids, texts, right answers and explanations, as plain text. GIFT has no ordering."""
    blocks = [f"$CATEGORY: $course$/top/{definition.title.replace('/', '//')}"]
    for entry in definition.questions:
        if (answers := written_answers(entry)) is not None:
            explanation = f"####{escaped(entry.explanation)}" if entry.explanation else ""
            head = f"::{entry.question.id}::[plain]{escaped(entry.question.text)}"
            blocks.append(f"{head} {{{answers}{explanation}}}")
    return "\n\n".join(blocks).encode() + b"\n"


def category_title(path: str) -> str:
    """Return the last part of a category's path; `//` in it is a slash."""
    return re.split(r"(?<!/)/(?!/)", path)[-1].replace("//", "/").strip()


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the lines of each block, without comments."""
    block: list[str] = []
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.lstrip().startswith("//"):
            # A comment keeps its line, so that places stay right, unless it is between blocks.
            if block:
                block.append("")
        elif line.strip():
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def _item(number: int, block: str) -> Item:
    item = Item(f"line {number}")
    if fault := fault_of(block, lines=True):
        item.fault = fault
        return item
    rest = _ESCAPED.sub(lambda match: _STAND_INS[match[1]], "\n".join(filter(None, block.split("\n")))).strip()
    if name := _NAME.match(rest):
        item.id = _restored(name[1])
        rest = rest[name.end() :].lstrip()
    form = _FORMAT.match(rest)
    if form:
        rest = rest[form.end() :]
    style = form[1].lower() if form else ""
    if style == "markdown":
        item.changes.append("Markdown stays as it is written")
    before, opened, tail = rest.partition("{")
    answers, closed, after = tail.rpartition("}")
    if not opened:
        item.text, item.kind = _text(before, style), "description"
        return item
    if not closed:
        item.fault = "has no closing brace"
        return item
    if "{" in _behind_answers(tail):
        item.fault = "has answers twice; an empty line must stand between questions"
        return item
    # A word of the text itself is missing where the answers stand.
    item.text = _text(f"{before.rstrip()} _____ {after.lstrip()}" if after.strip() else before, style)
    _answers(item, answers.strip(), style)
    return item


def _behind_answers(tail: str) -> str:
    """Return what follows the brace that closes the answers; braces within them, as those of formulas, come in pairs."""
    depth = 1
    for index, character in enumerate(tail):
        depth += (character == "{") - (character == "}")
        if not depth:
            return tail[index + 1 :]
    return ""


def _answers(item: Item, answers: str, style: str) -> None:
    answers, _, explanation = answers.partition("####")
    answers = answers.strip()
    item.explanation = _text(explanation, style)
    if not answers:
        item.kind = "essay"
    elif answers.startswith("#"):
        _numeric(item, answers[1:].strip())
    elif truth := _TRUTH.fullmatch(answers):
        item.kind, item.truth = TRUE_FALSE, truth[1].upper().startswith("T")
        if truth[2]:
            item.changes.append("feedback was left out")
    elif not answers.startswith(("~", "=")):
        item.fault = "has answers that begin with neither = nor ~"
    elif "~" not in answers and "->" in answers:
        _matching(item, answers, style)
    else:
        item.choices = [_choice(item, mark, text, style) for mark, text in _CHOICE.findall(answers)]
        if "~" not in answers:
            _short_text(item)
        elif not any(mark == "=" for mark, _ in _CHOICE.findall(answers)):
            item.kind, item.partial = MULTIPLE_CHOICE, True


def _numeric(item: Item, answers: str) -> None:
    """Read `3:0.5`, `2.5..3.5`, or one of these after each `=`, of which one earns everything."""
    item.kind = NUMERIC
    if not answers.startswith("="):
        answers = f"={answers}"
    choices = [_choice(item, mark, text, "plain") for mark, text in _CHOICE.findall(answers)]
    right = _only_right(item, choices)
    if len(right) != 1:
        item.fault = f"has {len(right)} right numbers; exactly one can be right"
        return
    low, is_range, high = right[0].raw.partition("..")
    number, _, tolerance = low.partition(":")
    try:
        if is_range:
            item.number, item.tolerance = middle(low, high)
        else:
            item.number, item.tolerance = decimal(number), decimal(tolerance) if tolerance else ""
    except ValueError as error:
        item.fault = str(error)


def _matching(item: Item, answers: str, style: str) -> None:
    item.kind, item.partial = MATCHING, True
    if "#" in answers:
        item.changes.append("feedback was left out")
    pairs = [text.partition("#")[0].partition("->") for text in answers.split("=")[1:]]
    if not all(arrow for _, arrow, _ in pairs):
        item.fault = "has an answer that is matched to nothing"
    # Without an option before it, it is a target alone.
    item.choices = [Choice(_text(one, style), target=_text(other, style)) for one, _, other in pairs if one.strip()]
    item.targets = by_text(_text(other, style) for _, _, other in pairs)


def _short_text(item: Item) -> None:
    item.kind = SHORT_TEXT
    item.accepted = _only_right(item, item.choices)
    item.choices = []


def _only_right(item: Item, choices: list[Choice]) -> list[Text]:
    """Return the answers that earn everything."""
    if any(0 < choice.share < 1 for choice in choices):
        item.changes.append("answers that earn a part were left out")
    return [choice.text for choice in choices if choice.share >= 1]


def _choice(item: Item, mark: str, text: str, style: str) -> Choice:
    share = 1.0 if mark == "=" else 0.0
    if weight := _WEIGHT.match(text):
        share = float(weight[1]) / 100
        text = text[weight.end() :]
    text, feedback, _ = text.partition("#")
    if feedback:
        item.changes.append("feedback was left out")
    return Choice(_text(text, style), share)


def _text(raw: str, style: str) -> Text:
    restored = _restored(raw)
    return Text(restored, style == "html" or (style in {"", "moodle"} and has_tags(restored)))


def _restored(raw: str) -> str:
    return raw.strip().translate(_RESTORED)
