"""A page as a screen reader has it: roles, names, values and states of the browser's accessibility tree, and keys.

It knows no element, no style, no text that is not in that tree and no address: what it cannot find there, its user cannot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.async_api import CDPSession, Page

from tests.deadline import eventually

MAX_STEPS: Final = 120
_TEXTS: Final = ("StaticText", "heading", "alert", "status")


@dataclass(frozen=True)
class Node:
    """What is announced of an element. `states` has those that are set: `focused`, `checked`, `disabled`, `invalid`, …"""

    role: str
    name: str
    value: str
    states: dict[str, Any] = field(default_factory=dict)

    def matches(self, role: str, name: str) -> bool:
        """Whether it has a role, and a name in which a regular expression is found."""
        return self.role == role and re.search(name, self.name) is not None


class ScreenReader:
    """Reads a page and presses keys. `open` makes one."""

    def __init__(self, page: Page, session: CDPSession) -> None:
        self._page = page
        self._session = session

    @classmethod
    async def open(cls, page: Page) -> ScreenReader:
        """Attach to a page."""
        session = await page.context.new_cdp_session(page)
        await session.send("Accessibility.enable")
        return cls(page, session)

    async def tree(self) -> list[Node]:
        """Return everything that is not hidden from screen readers, outer elements first."""
        nodes = (await self._session.send("Accessibility.getFullAXTree"))["nodes"]
        return [_node(each) for each in nodes if not each["ignored"]]

    async def hear(self, name: str, role: str = "") -> Node:
        """Wait for an element with this role, or for any text, and return it."""

        async def found() -> Node | None:
            roles = (role,) if role else _TEXTS
            return next((each for each in await self.tree() if any(each.matches(one, name) for one in roles)), None)

        try:
            heard = await eventually(found, f"a screen reader finds {role or 'a text'} {name!r}")
        except AssertionError as error:
            said = [f"{each.role} {each.name}" for each in await self.tree() if each.name]
            raise AssertionError(f"{error}, but {said}") from None
        assert heard is not None
        return heard

    async def focused(self) -> Node | None:
        """Return what has the focus; None if nothing has, but the document."""
        focused = [each for each in await self.tree() if each.states.get("focused") and each.role != "RootWebArea"]
        return focused[-1] if focused else None

    async def go_to(self, role: str, name: str) -> Node:
        """Wait for a control, and press Tab until it has the focus. The radio buttons of a group are one stop."""
        await self.hear(name, role)
        passed = []
        for _ in range(MAX_STEPS):
            at = await self.focused()
            if at is not None and at.matches(role, name):
                return at
            is_sibling = role == "radio" and at is not None and at.role == "radio"
            await self.press("ArrowDown" if is_sibling else "Tab")
            passed.append(at)
        raise AssertionError(f"Tab reaches no {role} {name!r}, but {passed}")

    async def activate(self, role: str, name: str, key: str = "Enter") -> None:
        """Go to a control and press a key on it."""
        await self.go_to(role, name)
        await self.press(key)

    async def fill(self, name: str, text: str) -> None:
        """Go to a text field by its name, and type."""
        await self.go_to("textbox", name)
        await self._page.keyboard.type(text)

    async def press(self, key: str) -> None:
        """Press a key."""
        await self._page.keyboard.press(key)


def _node(node: dict[str, Any]) -> Node:
    states = {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
    text = {key: str(node.get(key, {}).get("value", "")) for key in ("role", "name", "value")}
    return Node(**text, states={name: value for name, value in states.items() if value not in (False, "false")})
