"""Breaking statements that are too long, the way black and ruff break them."""

from __future__ import annotations

WIDTH = 100
OPENING, CLOSING = "([{", ")]}"


def statement(text: str, indent: int, after: int = 0) -> list[str]:
    """One statement as indented lines of at most `WIDTH` columns where that is possible.

    Args:
        after: how many characters the caller puts behind it.
    """
    pad = " " * indent
    if indent + len(text) + after <= WIDTH:
        return [pad + text]
    pairs = _brackets(text)
    fitting = [p for p in pairs if indent + len(p[0]) <= WIDTH]
    if not pairs:
        return [pad + text]
    head, body, tail = (fitting or pairs)[-1]
    return [pad + head, *_contents(body, indent + 4), *statement(tail, indent, after)]


def _contents(body: str, indent: int) -> list[str]:
    """What stands between the brackets: on one line if it fits, else one item a line."""
    items = split_items(body)
    if indent + len(body) <= WIDTH:
        return [" " * indent + body + ("," if len(items) > 1 and body.endswith(",") else "")]
    if len(items) == 1:
        return statement(body, indent)
    lines: list[str] = []
    for entry in items:
        *first, last = statement(entry, indent, after=1)
        lines += [*first, last + ","]
    return lines


def split_items(text: str) -> list[str]:
    """The items of a comma-separated list, brackets and strings respected."""
    items, depth, start, quote = [], 0, 0, ""
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in OPENING:
            depth += 1
        elif char in CLOSING:
            depth -= 1
        elif char == "," and depth == 0:
            items.append(text[start:i].strip())
            start = i + 1
    return [e for e in (*items, text[start:].strip()) if e]


def _brackets(text: str) -> list[tuple[str, str, str]]:
    """Every bracket pair of the outermost level: before, inside, after.

    What follows a broken bracket begins with the bracket that closes it.
    """
    depth, start, quote = 0, 0, ""
    found: list[tuple[str, str, str]] = []
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in OPENING:
            start = i if depth == 0 else start
            depth += 1
        elif char in CLOSING and depth:
            depth -= 1
            if depth == 0 and i - start > 1:
                found.append((text[: start + 1], text[start + 1 : i], text[i:]))
    return found
