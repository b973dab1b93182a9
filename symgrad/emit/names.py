"""Names for the values of a program: the user's where there are any, all distinct."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata

RESERVED = frozenset(
    {"jax", "jnp", "lax", "checkpoint_name", "self", *keyword.kwlist, *keyword.softkwlist}
)
RESERVED |= frozenset(dir(builtins))
LONGEST = 60
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of control, formatting and line-breaking characters, and surrogates."""


def identifier(text: str, default: str = "value") -> str:
    """A plain ASCII identifier that resembles `text`, whatever it contains."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"\W+", "_", plain).strip("_")[:LONGEST]
    if not name or name[0].isdigit():
        name = f"{default}_{name}".rstrip("_")
    return f"{name}_" if name in RESERVED else name


def comment(text: str) -> str:
    """Text that stays on one line of a comment: control and bidirectional marks are dropped."""
    shown = (" " if unicodedata.category(c) in UNSEEN else c for c in text)
    return " ".join("".join(shown).split())


def docstring(text: str) -> str:
    """Text that neither ends a docstring nor escapes anything in it."""
    return comment(text).replace("\\", "/").replace('"', "'")


class Names:
    """Hands out distinct names; an inner scope never shadows what is visible outside."""

    def __init__(self, taken: frozenset[str] | set[str] = frozenset()):
        self.taken = set(taken)
        self._everywhere: set[str] = set()
        self._next: dict[str, int] = {}

    def claim(self, wanted: str, default: str = "value") -> str:
        """`wanted` as an identifier, numbered if it is taken already."""
        name = identifier(wanted, default)
        return self._first_free(name, name, 2)

    def numbered(self, base: str) -> str:
        """`base_1`, `base_2`, ...: for values that the user gave no name."""
        name = identifier(base).rstrip("_")
        return self._first_free(f"{name}_1", name, 2)

    def numbered_everywhere(self, base: str) -> str:
        """As `numbered`, and no scope of the program uses the name for anything else later on."""
        name = self.numbered(base)
        self._everywhere.add(name)
        return name

    def _first_free(self, unique: str, stem: str, number: int) -> str:
        number = self._next.get(stem, number)
        while unique in self.taken or unique in self._everywhere:
            unique, number = f"{stem}_{number}", number + 1
        self._next[stem] = number
        self.taken.add(unique)
        return unique

    def inner(self) -> Names:
        names = Names(self.taken)
        names._everywhere = self._everywhere
        return names
