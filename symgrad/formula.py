"""Mathematics as LaTeX: how operations on numbers and the sides of a law are written in textbooks.

What is written as a law is a tree whose leaves are numbers or have a `name`, and whose other nodes
have an `op` and `args`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from symgrad.expr import Op, add, div, mul, neg, sub
from symgrad.ops import pointwise, reduce

SUM, HADAMARD, PRODUCT, POWER, ATOM = 1, 2, 3, 4, 5
"""How tightly parts hold together; a part that holds looser than its place needs gets brackets."""

Notation = tuple[str, int, tuple[int, ...]]
"""A template over the parts, how tightly the whole holds, and what each part's place needs."""


class Part(NamedTuple):
    """A piece of a formula, and how tightly it holds together."""

    text: str
    tightness: int = ATOM

    def within(self, needed: int) -> str:
        """The text for a place that needs something to hold this tightly."""
        return self.text if self.tightness >= needed else rf"\left({self.text}\right)"


def _function(name: str) -> Notation:
    return rf"{name}\left(%s\right)", ATOM, (0,)


NOTATION: Mapping[Op, Notation] = {
    add: ("%s + %s", SUM, (SUM, SUM)),
    sub: ("%s - %s", SUM, (SUM, PRODUCT)),
    mul: (r"%s \, %s", PRODUCT, (PRODUCT, PRODUCT)),
    div: (r"\frac{%s}{%s}", ATOM, (0, 0)),
    neg: ("-%s", SUM, (PRODUCT,)),
    pointwise.exp: ("e^{%s}", POWER, (0,)),
    pointwise.exp2: ("2^{%s}", POWER, (0,)),
    pointwise.power: ("%s^{%s}", POWER, (ATOM, 0)),
    pointwise.square: ("%s^2", POWER, (ATOM,)),
    pointwise.sqrt: (r"\sqrt{%s}", ATOM, (0,)),
    pointwise.rsqrt: (r"\frac{1}{\sqrt{%s}}", ATOM, (0,)),
    pointwise.cbrt: (r"\sqrt[3]{%s}", ATOM, (0,)),
    pointwise.abs_: (r"\left\lvert %s \right\rvert", ATOM, (0,)),
    pointwise.floor: (r"\left\lfloor %s \right\rfloor", ATOM, (0,)),
    pointwise.ceil: (r"\left\lceil %s \right\rceil", ATOM, (0,)),
    pointwise.log: _function(r"\log"),
    pointwise.sin: _function(r"\sin"),
    pointwise.cos: _function(r"\cos"),
    pointwise.tan: _function(r"\tan"),
    pointwise.arcsin: _function(r"\arcsin"),
    pointwise.arccos: _function(r"\arccos"),
    pointwise.arctan: _function(r"\arctan"),
    pointwise.sinh: _function(r"\sinh"),
    pointwise.cosh: _function(r"\cosh"),
    pointwise.tanh: _function(r"\tanh"),
    pointwise.arcsinh: _function(r"\operatorname{arsinh}"),
    pointwise.arccosh: _function(r"\operatorname{arcosh}"),
    pointwise.arctanh: _function(r"\operatorname{artanh}"),
    pointwise.logistic: _function(r"\sigma"),
    pointwise.maximum: (r"\max\left(%s, %s\right)", ATOM, (0, 0)),
    pointwise.minimum: (r"\min\left(%s, %s\right)", ATOM, (0, 0)),
    pointwise.eq: ("%s = %s", 0, (SUM, SUM)),
    pointwise.ne: (r"%s \neq %s", 0, (SUM, SUM)),
    pointwise.lt: ("%s < %s", 0, (SUM, SUM)),
    pointwise.le: (r"%s \le %s", 0, (SUM, SUM)),
    pointwise.gt: ("%s > %s", 0, (SUM, SUM)),
    pointwise.ge: (r"%s \ge %s", 0, (SUM, SUM)),
    pointwise.select: (
        r"\begin{cases} %2$s & %1$s \\ %3$s & \text{otherwise} \end{cases}",
        ATOM,
        (0, 0, 0),
    ),
    reduce.reduce_sum: (r"\sum %s", PRODUCT, (PRODUCT,)),
    reduce.reduce_prod: (r"\prod %s", PRODUCT, (PRODUCT,)),
}


def equation_latex(left: Any, right: Any) -> str:
    """Both sides of a law."""
    return f"{latex(left)} = {latex(right)}"


def latex(tree: Any) -> str:
    """A tree of operations on variables and numbers in mathematical notation."""
    return _part(tree).text


def applied(notation: Notation, parts: Sequence[Part]) -> Part:
    """A template with its places filled, brackets where the parts need them."""
    template, tightness, places = notation
    written = [p.within(n) for p, n in zip(parts, places, strict=True)]
    if "%1$s" not in template:
        return Part(template % tuple(written), tightness)
    pieces = re.split(r"%(\d)\$s", template)
    filled = [written[int(p) - 1] if i % 2 else p for i, p in enumerate(pieces)]
    return Part("".join(filled), tightness)


def _part(tree: Any) -> Part:
    if isinstance(tree, int | float):
        return number(tree)
    if hasattr(tree, "name"):
        return Part(tree.name.replace("_", r"\_"))
    args = tree.args
    if tree.op is mul and isinstance(args[1], int | float):
        args = args[::-1]
    return applied(NOTATION.get(tree.op) or named(tree.op.name, len(args)), [*map(_part, args)])


def named(name: str, count: int) -> Notation:
    """A function that has a name and no notation."""
    name = name.replace("_", r"\_")
    return rf"\operatorname{{{name}}}\left({', '.join(['%s'] * count)}\right)", ATOM, (0,) * count


def number(value: float) -> Part:
    """A number as people write it, with up to six digits."""
    if value in (float("inf"), -float("inf")):
        return Part(r"\infty") if value > 0 else Part(r"-\infty", SUM)
    if value != value:
        return Part(r"\mathrm{nan}")
    mantissa, _, exponent = f"{value:g}".partition("e")
    if not exponent:
        return Part(mantissa, SUM if mantissa.startswith("-") else ATOM)
    power = f"10^{{{int(exponent)}}}"
    if mantissa in ("1", "-1"):
        return Part(mantissa[:-1] + power, SUM if mantissa == "-1" else POWER)
    return Part(rf"{mantissa} \cdot {power}", SUM if mantissa.startswith("-") else PRODUCT)
