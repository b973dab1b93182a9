"""Laws in mathematical notation."""

from __future__ import annotations

import pytest

import symgrad as sg
from symgrad.expr import neg
from symgrad.formula import latex
from symgrad.ops.pointwise import exp, log, log1p, power, relu, select, square
from symgrad.pattern import Variable

x, y, c = (Variable(name) for name in "xyc")


@pytest.mark.parametrize(
    ("tree", "written"),
    [
        ((x + y) * 2, r"2 \, \left(x + y\right)"),
        (x - (y - 1), r"x - \left(y - 1\right)"),
        (neg(neg(x)), r"-\left(-x\right)"),
        (1 / (1 + exp(-x)), r"\frac{1}{1 + e^{-x}}"),
        (square(exp(x)), r"\left(e^{x}\right)^2"),
        (power(x + 1, y), r"\left(x + 1\right)^{y}"),
        (log(x) + log1p(y), r"\log\left(x\right) + \operatorname{log1p}\left(y\right)"),
        (select(c, x, 0), r"\begin{cases} x & c \\ 0 & \text{otherwise} \end{cases}"),
        (relu(x) * float("-inf"), r"\left(-\infty\right) \, \operatorname{relu}\left(x\right)"),
    ],
)
def test_notation(tree, written):
    assert latex(tree) == written


def test_laws_show_their_equation():
    laws = {rule.name: rule for rule in sg.rules}
    assert laws["sum_of_equals"].latex == r"x + x = 2 \, x"
    assert laws["fold_constants"].latex == ""
    assert all("=" in rule.latex for rule in sg.rules if rule.sides)
