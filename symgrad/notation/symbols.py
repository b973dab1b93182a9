r"""Names in formulas: `W_in` becomes $W_{\mathrm{in}}$, `d_theta` $\bar{\theta}$, `x1` $x_{1}$."""

from __future__ import annotations

import re
import unicodedata

from symgrad.emit.names import identifier
from symgrad.formula import ATOM, POWER, Part

SMALL = "alpha beta gamma delta epsilon zeta eta theta iota kappa mu nu xi pi rho sigma tau"
LARGE = "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
GREEK = frozenset(f"{SMALL} {LARGE}".split(" "))
SPELLED = {"lam": "lambda", "lamda": "lambda", "lambda_": "lambda", "eps": "epsilon"}
ACCENTS = {"hat": "hat", "tilde": "tilde", "bar": "bar", "dot": "dot"}
ACCENT_OF_PREFIX = "bar"
"""`d_z` is the cotangent of `z`: the adjoint, in the textbooks' word."""


def symbol(name: str) -> str:
    """A user's name as a symbol."""
    plain = identifier(_spelled(name)) if name else "value"
    if plain.startswith("d_") and len(plain) > 2:
        return rf"\{ACCENT_OF_PREFIX}{{{symbol(plain[2:])}}}"
    head, _, tail = plain.rpartition("_")
    if head and tail in ACCENTS:
        return rf"\{ACCENTS[tail]}{{{symbol(head)}}}"
    plain = SPELLED.get(plain, plain).strip("_") or "x"
    base, *rest = plain.split("_")
    found = re.fullmatch(r"([A-Za-z]+?)(\d+)", base)
    if found:
        base, rest = found[1], [found[2], *rest]
    below = ",".join(_subscript(r) for r in rest if r)
    return _base(base) + (f"_{{{below}}}" if below else "")


def _spelled(name: str) -> str:
    """Greek letters by their names."""
    if len(name) == 1 and not name.isascii():
        words = unicodedata.name(name, "").split()
        if words[:1] == ["GREEK"] and len(words) == 4:
            letter = words[3].lower().replace("lamda", "lambda")
            return letter.capitalize() if words[1] == "CAPITAL" else letter
    return name


def _base(base: str) -> str:
    if base in GREEK or base == "lambda":
        return rf"\{base}"
    return base if len(base) == 1 else rf"\mathrm{{{base}}}"


def _subscript(text: str) -> str:
    return text if text.isdigit() else _base(text)


class Symbols:
    """Hands out symbols that are all distinct: a name that comes again gets a number."""

    def __init__(self, taken: frozenset[str] = frozenset()):
        self.taken = set(taken)
        self._count = 0

    def claim(self, name: str) -> Part:
        """The symbol of a name; of the second value of that name, one that says so."""
        first = text = symbol(name)
        again = 1
        while text in self.taken:
            again += 1
            text = f"{first}^{{({again})}}"
        self.taken.add(text)
        return Part(text, ATOM if again == 1 else POWER)

    def numbered(self) -> Part:
        """A symbol for a value without a name."""
        while True:
            self._count += 1
            text = f"v_{{{self._count}}}"
            if text not in self.taken:
                self.taken.add(text)
                return Part(text)
