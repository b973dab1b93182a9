"""Mathematics as LaTeX: how the sides of a law are written in a textbook.

What is written is a tree whose leaves are numbers or have a `name`, and whose other nodes have
an `op` and `args`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from symgrad.expr import Op, add, div, mul, neg, sub
from symgrad.ops import pointwise, reduce

SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 4
"""How tightly parts hold together; a part that holds looser than its place needs gets brackets."""

Notation = tuple[str, int, tuple[int, ...]]
"""A template over the parts, how tightly the whole holds, and what each part's place needs."""


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
    return _written(tree, 0)


def _written(tree: Any, needed: int) -> str:
    text, tightness = _parts(tree)
    return text if tightness >= needed else rf"\left({text}\right)"


def _parts(tree: Any) -> tuple[str, int]:
    if isinstance(tree, int | float):
        return _number(tree)
    if hasattr(tree, "name"):
        return tree.name.replace("_", r"\_"), ATOM
    template, tightness, places = NOTATION.get(tree.op) or _named(tree.op, len(tree.args))
    args = tree.args
    if tree.op is mul and isinstance(args[1], int | float):
        args = args[::-1]
    parts = [_written(a, n) for a, n in zip(args, places, strict=True)]
    if "%1$s" in template:
        for i, part in enumerate(parts):
            template = template.replace(f"%{i + 1}$s", part)
        return template, tightness
    return template % tuple(parts), tightness


def _named(op: Op, count: int) -> Notation:
    name = op.name.replace("_", r"\_")
    return rf"\operatorname{{{name}}}\left({', '.join(['%s'] * count)}\right)", ATOM, (0,) * count


def _number(value: float) -> tuple[str, int]:
    if value in (float("inf"), -float("inf")):
        return (r"\infty", ATOM) if value > 0 else (r"-\infty", SUM)
    text = f"{value:g}"
    return text, SUM if text.startswith("-") else ATOM
