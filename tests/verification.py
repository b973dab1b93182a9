"""Every rule against exact arithmetic, each alone: what `sg.rules` says of how it was verified.

`python tests/verification.py` writes `symgrad/verified.py` and `docs/rules.md`; with `new` it only
looks at the rules that have no entry there.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evaluate
import jax
import numpy as np
import sympy
from test_every_rule import PROGRAMS

import symgrad as sg
from symgrad import exact, laws, walk
from symgrad.derive import pullback
from symgrad.expr import Expr, Op, Type, add, argument, div, mul, neg, parameter, sub
from symgrad.ops import pointwise
from symgrad.ops.calls import inline_custom
from symgrad.ops.shape import zeros
from symgrad.pattern import Pattern, Rule, Variable, fit, instantiate

PROVED, EVALUATED, IN_PROGRAMS = "proved", "evaluated", "in programs"

DIGITS = 700
"""Enough to see what is left of 1 + exp(-700) - 1."""

POINTS = 96
SAME = 1e-30
NOTHING = exact.context(20).mpf(10) ** -400
"""What is smaller no dtype has, and one side may have lost it."""

UNITS = 8
"""How many units in the last place, in result or operands, a right side may lose to the left."""


class WrongLaw(AssertionError):
    """The sides of a rule are not the same number, or the right side is worse."""


# Instances of an equation


@dataclass(frozen=True)
class Sides:
    """Both sides of an equation as graphs over one vector for each variable."""

    left: walk.Graph
    right: walk.Graph
    kinds: tuple[str, ...]


def variables(pattern: Any) -> Iterator[tuple[str, str]]:
    """What a pattern's variables stand for: an array, a mask, or a parameter of that name."""
    if isinstance(pattern, Variable):
        yield pattern.name, "array"
    elif isinstance(pattern, Pattern):
        for name, value in pattern.params.items():
            if isinstance(value, Variable):
                yield value.name, name
        for i, arg in enumerate(pattern.args):
            mask = pattern.op is pointwise.select and i == 0 and isinstance(arg, Variable)
            yield from [(arg.name, "mask")] if mask else variables(arg)


LIKELY: tuple[Callable[[Expr], Expr], ...] = (
    lambda x: x,
    pointwise.abs_,
    lambda x: pointwise.abs_(x) + 1,
    pointwise.logistic,
    lambda x: -pointwise.abs_(x),
    pointwise.floor,
    pointwise.tanh,
)
"""What a guard may ask of an operand, tried in this order."""


def sides(rule: Rule, dtype: Any) -> Sides | None:
    """An instance of an equation that its guard admits, None if none was found."""
    left, right = rule.sides  # type: ignore[misc]
    kinds = dict(variables(left))
    if not set(kinds.values()) <= {"array", "mask", "axis"}:
        return None
    arrays = [name for name, kind in kinds.items() if kind in ("array", "mask")]
    shape = (POINTS, 3) if "axis" in kinds.values() else (POINTS,)
    types = {n: Type(shape, np.dtype(bool) if kinds[n] == "mask" else dtype) for n in arrays}
    inputs = {n: parameter(i, types[n]) for i, n in enumerate(arrays)}
    axes = {n: 1 for n, kind in kinds.items() if kind == "axis"}
    for chosen in itertools.product(LIKELY, repeat=len(arrays)):
        nodes = {
            n: make(inputs[n]) if kinds[n] == "array" else inputs[n]
            for n, make in zip(arrays, chosen, strict=True)
        }
        bound = {**nodes, **axes}
        whole = instantiate(left, bound)
        if rule.rewrite(whole) is None:
            continue
        given = tuple(inputs.values())
        changed = fit(instantiate(right, bound), whole.type)
        made = (walk.Graph(given, (side,)) for side in (whole, changed))
        return Sides(*made, tuple(kinds[n] for n in arrays))
    return None


def points(name: str, kinds: Sequence[str], graph: walk.Graph, dtype: Any) -> list[np.ndarray]:
    """Numbers of all magnitudes, every edge of the dtype, and now and then a tie."""
    draws = np.random.default_rng(zlib.crc32(name.encode()))
    info = jax.numpy.finfo(dtype)
    edges = [0.0, 1.0, 30.0, 100.0, 1e3, 1e-8, float(info.tiny), float(info.max) ** 0.5]
    edges += [float(info.max) / 8, np.inf]
    special = [*edges, *(-e for e in edges), np.nan]
    found: list[np.ndarray] = []
    for kind, node in zip(kinds, graph.inputs, strict=True):
        if kind == "mask":
            found.append(draws.random(node.shape) < 0.5)
            continue
        sizes = 10.0 ** draws.uniform(-8, 2, node.shape) * draws.choice([-1, 1], node.shape)
        around_one = draws.normal(size=node.shape)
        at_edge = draws.choice(special, node.shape)
        which = draws.integers(0, 3, node.shape)
        values = np.select([which == 0, which == 1], [sizes, around_one], at_edge)
        if found and found[-1].dtype != bool:
            values = np.where(draws.random(node.shape) < 0.1, found[-1], values)
        found.append(values.astype(dtype))
    return found


# Checks


def number_of(array: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(array, object).astype(np.float64)


def in_floats(graph: walk.Graph, args: Sequence[np.ndarray]) -> np.ndarray:
    """The value of a graph, each operation run on its own."""
    values: dict[Expr, Any] = dict(zip(graph.inputs, map(jax.numpy.asarray, args), strict=True))
    for node in walk.topological(graph.outputs):
        if node not in values:
            values[node] = evaluate.apply(node, [values[a] for a in node.args])
    return np.asarray(values[graph.outputs[0]])


def slopes(graph: walk.Graph) -> walk.Graph:
    """Derivatives of the sum of all outputs in the inputs that have them."""
    wanted = [i for i in graph.inputs if i.type.inexact]
    ones = [pointwise.exp(zeros(o.type)) for o in graph.outputs]
    pulled = pullback(graph.outputs, ones, wanted)
    made = [zeros(i.type) if p is None else p for i, p in zip(wanted, pulled, strict=True)]
    return walk.Graph(graph.inputs, tuple(made))


def conditioned(graph: walk.Graph, args: Sequence[np.ndarray], truth: np.ndarray) -> np.ndarray:
    """How far the result moves, entry by entry, if all operands move by their own size."""
    moved = np.abs(np.where(np.isfinite(truth), truth, 0.0))
    wanted = [a for a in args if a.dtype != bool]
    for slope, x in zip(exact.evaluate(slopes(graph), args, 40), wanted, strict=True):
        with np.errstate(all="ignore"):
            reach = np.abs(number_of(slope) * x.astype(np.float64))
        reach = np.where(np.isfinite(reach), np.minimum(reach, 1e200), 0.0)
        if reach.shape != moved.shape:
            reach = reach.max(axis=1) if reach.ndim > moved.ndim else reach
        moved = np.minimum(moved + reach, 1e200)
    return moved


def check_values(rule: Rule, dtype: Any) -> Sides | None:
    """Both sides are one number, and the right side rounds no worse.

    Raises:
        WrongLaw: they are not, or it does.
    """
    pair = sides(rule, np.dtype(dtype))
    if pair is None:
        return None
    args = points(rule.name, pair.kinds, pair.left, dtype)
    exactly = [exact.evaluate(g, args, DIGITS)[0] for g in (pair.left, pair.right)]
    left, right = exactly
    known = np.array([v - v == 0 for v in left.flat]).reshape(left.shape)
    same = np.array([agree(v, w) for v, w in zip(left.flat, right.flat, strict=True)])
    unlike = known & ~same.reshape(left.shape)
    refuse(unlike, "the sides differ", args, number_of(left), number_of(right))
    truth = number_of(left)
    check_rounding(rule, pair, args, truth, dtype)
    return pair


def agree(first: Any, second: Any) -> bool:
    return bool(abs(first - second) <= SAME * (abs(first) + abs(second)) + NOTHING)


def check_rounding(
    rule: Rule, pair: Sides, args: Sequence[np.ndarray], truth: np.ndarray, dtype: Any
) -> None:
    left, right = (in_floats(g, args).astype(np.float64) for g in (pair.left, pair.right))
    info = jax.numpy.finfo(dtype)
    clean = ~any_nan(args, truth.shape)
    fits = np.isfinite(truth) & (np.abs(truth) < float(info.max) / 4) & clean
    lost = np.isfinite(left) & ~np.isfinite(right) & fits
    refuse(lost, "the right side is not finite", args, left, right)
    hidden = ~clean & np.isnan(truth) & np.isnan(left) & ~np.isnan(right)
    refuse(hidden, "a nan is lost", args, left, right)
    with np.errstate(invalid="ignore"):
        errors = [np.where(fits, np.abs(v - truth), 0.0) for v in (left, right)]
    before = np.where(np.isfinite(left), 2 * errors[0], 0.0)
    allowed = UNITS * float(info.eps) * conditioned(pair.left, args, truth) + UNITS * float(
        info.tiny
    )
    worse = fits & np.isfinite(right) & ~(errors[1] <= before + allowed)
    refuse(worse, "the right side rounds worse", args, left, right, truth)


def any_nan(args: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    found = np.zeros(args[0].shape, bool)
    for a in args:
        found = found | (np.isnan(a.astype(np.float64)) if a.dtype != bool else False)
    while found.ndim > len(shape):
        found = found.any(1)
    return found if found.ndim < 2 else np.broadcast_to(found.any(1, keepdims=True), shape)


def refuse(wrong: np.ndarray, what: str, args: Sequence[np.ndarray], *values: np.ndarray) -> None:
    if not wrong.any():
        return
    place = tuple(int(n) for n in np.argwhere(wrong)[0])
    at = [a[place[: a.ndim]].tolist() for a in args]
    raise WrongLaw(f"{what} at {at}: {[v[place].tolist() for v in values]} ({wrong.sum()} points)")


def check_slopes(rule: Rule, dtype: Any) -> None:
    """The derivatives of both sides are the same numbers, where the left has them.

    Raises:
        WrongLaw: they are not.
    """
    pair = sides(rule, np.dtype(dtype))
    if pair is None:
        return
    with np.errstate(invalid="ignore"):
        args = [
            a if a.dtype == bool else np.where((abs(a) < 1e100) & (a != 0), a, dtype(0.7))
            for a in apart(points(rule.name, pair.kinds, pair.left, dtype))
        ]
    first, second = (exact.evaluate(slopes(g), args, DIGITS) for g in (pair.left, pair.right))
    for left, right in zip(first, second, strict=True):
        unlike = [
            v - v == 0 and not agree(v, w) for v, w in zip(left.flat, right.flat, strict=True)
        ]
        where = np.array(unlike).reshape(left.shape)
        refuse(where, "the derivatives differ", args, number_of(left), number_of(right))


def apart(args: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same without ties, where derivatives are a matter of convention."""
    shifts = (0.0, 0.37, -0.59, 0.83)
    return [
        a if a.dtype == bool else (a * (1 + s)).astype(a.dtype)
        for a, s in zip(args, itertools.cycle(shifts), strict=False)
    ]


# Programs in which a rule fires

SCALES = (1.0, 1e-4, 30.0)
AS_IT_WAS, AS_ROUNDED = 1e-25, 1e-14
"""Laws may fold literals, and round what they fold."""


def check_program(rule: Rule, graph: sg.Graph, args: Sequence[np.ndarray]) -> bool:
    """Where the rule fires in a program, what was there and what took its place are one number.

    Returns:
        Whether it fires.

    Raises:
        WrongLaw: they are not, or their derivatives are not.
    """
    versions = (graph.simplify([rule]), graph.simplify())
    fired = {(s.before, s.after) for v in versions for s in v.log.steps if s.rule is rule}
    draws = np.random.default_rng(7)
    known = dict(zip(graph.inputs, args, strict=True))
    for before, after in fired:
        inputs = [n for n in walk.topological([before, after]) if n.op is argument]
        given = [known[i] if i in known else drawn(i.type, draws) for i in inputs]
        pair = tuple(inline_custom(walk.Graph(tuple(inputs), (n,))) for n in (before, after))
        for scale in SCALES:
            at = [scaled(a, scale) for a in given]
            for left, right in (pair, *derived(*pair)):
                compare(left, right, at, AS_IT_WAS if rule.exact else AS_ROUNDED)
    return bool(fired)


def drawn(type: Type, draws: np.random.Generator) -> np.ndarray:
    if type.inexact:
        return draws.normal(size=type.shape).astype(type.dtype)
    return draws.integers(0, 2, type.shape).astype(type.dtype)


def scaled(array: np.ndarray, scale: float) -> np.ndarray:
    if not jax.dtypes.issubdtype(array.dtype, np.inexact):
        return array
    return np.asarray(array * scale).astype(array.dtype)


def derived(*graphs: walk.Graph) -> Iterator[tuple[walk.Graph, ...]]:
    """The pullbacks of ones, where there are derivatives."""
    (first, _) = graphs
    if any(i.type.inexact for i in first.inputs) and all(t.inexact for t in first.outputs[0].types):
        yield tuple(slopes(g) for g in graphs)


def compare(
    left: walk.Graph, right: walk.Graph, args: Sequence[np.ndarray], tolerance: float
) -> None:
    """Refuses numbers that differ by more than a part of the largest.

    A left side that is no number says nothing.
    """
    before, after = (exact.evaluate(g, args, 120) for g in (left, right))
    for x, y in zip(before, after, strict=True):
        if x.dtype != object:
            refuse(x != y, "integers differ", [], x, y)
            continue
        first, second = number_of(x), number_of(y)
        known = np.isfinite(first)
        size = np.max(np.abs(first[known]), initial=1e-60)
        pairs = zip(x.flat, y.flat, strict=True)
        distance = number_of([v - w if v - v == 0 else 0 for v, w in pairs])
        wrong = known & ~(np.abs(distance.reshape(x.shape)) <= tolerance * size)
        refuse(wrong, "the results differ", [], first, second)


# Proofs

SYMPY: Mapping[Op, Callable[..., Any]] = {
    add: lambda x, y: x + y,
    sub: lambda x, y: x - y,
    mul: lambda x, y: x * y,
    div: lambda x, y: x / y,
    neg: lambda x: -x,
    pointwise.square: lambda x: x**2,
    pointwise.power: lambda x, y: x**y,
    pointwise.exp: sympy.exp,
    pointwise.exp2: lambda x: 2**x,
    pointwise.expm1: lambda x: sympy.exp(x) - 1,
    pointwise.log: sympy.log,
    pointwise.log1p: lambda x: sympy.log(1 + x),
    pointwise.sqrt: sympy.sqrt,
    pointwise.rsqrt: lambda x: 1 / sympy.sqrt(x),
    pointwise.cbrt: sympy.cbrt,
    pointwise.abs_: sympy.Abs,
    pointwise.sin: sympy.sin,
    pointwise.cos: sympy.cos,
    pointwise.tan: sympy.tan,
    pointwise.sinh: sympy.sinh,
    pointwise.cosh: sympy.cosh,
    pointwise.tanh: sympy.tanh,
    pointwise.arcsin: sympy.asin,
    pointwise.arccos: sympy.acos,
    pointwise.arctan: sympy.atan,
    pointwise.arcsinh: sympy.asinh,
    pointwise.arccosh: sympy.acosh,
    pointwise.arctanh: sympy.atanh,
    pointwise.logistic: lambda x: 1 / (1 + sympy.exp(-x)),
    pointwise.softplus: lambda x: sympy.log(1 + sympy.exp(x)),
    pointwise.logaddexp: lambda x, y: sympy.log(sympy.exp(x) + sympy.exp(y)),
    pointwise.maximum: sympy.Max,
    pointwise.minimum: sympy.Min,
    pointwise.erf: sympy.erf,
    pointwise.erfc: sympy.erfc,
}


def to_sympy(pattern: Any, symbols: Mapping[str, Any]) -> Any:
    """A side of an equation in SymPy, None if it has no word for an operation."""
    if isinstance(pattern, Variable):
        return symbols.get(pattern.name)
    if not isinstance(pattern, Pattern):
        return sympy.nsimplify(pattern) if np.isfinite(pattern) else None
    word = SYMPY.get(pattern.op)
    args = [to_sympy(a, symbols) for a in pattern.args]
    return None if word is None or any(a is None for a in args) else word(*args)


def proved(rule: Rule) -> bool:
    """Whether SymPy reduces the difference of the sides to 0, for all real numbers.

    With a guard, for positive ones: what the guard admits is more than SymPy can be told.
    """
    kinds = dict(variables(rule.sides[0]))  # type: ignore[index]
    facts = {"positive": True} if rule.guard else {"real": True}
    symbols = {n: sympy.Symbol(n, **facts) for n, kind in kinds.items() if kind == "array"}
    left, right = (to_sympy(s, symbols) for s in rule.sides)  # type: ignore[union-attr]
    if left is None or right is None:
        return False
    attempts = (
        lambda d: d,
        sympy.expand,
        lambda d: sympy.simplify(d.rewrite(sympy.exp)),
        lambda d: sympy.simplify(sympy.expand_log(d, force=False)),
        lambda d: sympy.simplify(sympy.exp(left) - sympy.exp(right)),
    )
    return any(attempt(left - right) == 0 for attempt in attempts)


# Verification


def verify(rule: Rule) -> tuple[str, ...]:
    """How the rule could be verified.

    Raises:
        WrongLaw: a check found it wrong.
    """
    found = []
    if rule.sides is not None:
        if proved(rule):
            found.append(PROVED)
        with jax.enable_x64(True):
            if all(check_values(rule, d) is not None for d in (np.float32, np.float64)):
                check_slopes(rule, np.float64)
                found.append(EVALUATED)
    with jax.enable_x64(True):
        programs = [p for p in PROGRAMS if p.rule is rule]
        if programs and all(check_program(rule, p.graph(), p.args()) for p in programs):
            found.append(IN_PROGRAMS)
    return tuple(found)


# What is written of it

ROOT = Path(__file__).parent.parent
PAGE, TABLE = ROOT / "docs" / "rules.md", ROOT / "symgrad" / "verified.py"

INTRODUCTION = """# The laws

Made by `make rules` from the rules themselves; a test keeps it up to date.

`sg.rules` lists the same: `.name`, `.law`, `.latex`, `.exact`, `.protects`, `.verified`. What every
law keeps to is said in [rewrites.md](rewrites.md). Each was verified alone:

- *proved*: SymPy reduces the difference of the two sides to 0, for all real numbers; where a law
  has a guard, for all positive ones.
- *evaluated*: both sides are the same number, and have the same derivatives, to hundreds of digits
  at numbers of all magnitudes, infinities and zeros included; in single and double precision the
  right side is finite where the left is, rounds no worse than the left by more than a few units in
  the last place, and keeps every nan.
- *in programs*: in programs in which the law fires, what was there and what took its place have the
  same value and the same derivatives to hundreds of digits.

A law that is *exact* keeps every bit; the others may round differently.
"""


def families() -> dict[str, list[Rule]]:
    """The rules of `sg.rules` by the module that states them."""
    found: dict[str, list[Rule]] = {}
    for info in pkgutil.iter_modules(laws.__path__):
        stated = vars(importlib.import_module(f"{laws.__name__}.{info.name}"))
        own = [v for v in stated.values() if isinstance(v, Rule) and v in sg.rules]
        if own and info.name != "book":
            found[info.name] = [r for r in own if all(r not in f for f in found.values())]
    return found


def row(rule: Rule, verified: Sequence[str]) -> str:
    law = f"${rule.latex}$" if rule.sides else rule.law.replace("\n", " ").replace("|", "&#124;")
    exactness = "yes" if rule.exact else ""
    return f"| `{rule.name}` | {law} | {exactness} | {rule.protects} | {', '.join(verified)} |"


def page(verified: Mapping[str, Sequence[str]]) -> str:
    """docs/rules.md."""
    parts = [INTRODUCTION]
    for name, rules in families().items():
        about = (importlib.import_module(f"{laws.__name__}.{name}").__doc__ or "").split("\n\n")[0]
        parts.append(f"\n## {name}\n\n{about.strip()}\n")
        parts.append("| rule | law | exact | protects against | verified |\n|---|---|---|---|---|")
        parts += [row(r, verified[r.name]) for r in rules]
    return "\n".join(parts) + "\n"


def table(verified: Mapping[str, Sequence[str]]) -> str:
    """symgrad/verified.py."""
    lines = [f"    {name!r}: {tuple(how)!r},".replace("'", '"') for name, how in verified.items()]
    start = TABLE.read_text().split("VERIFIED")[0]
    return (
        start + "\n".join(["VERIFIED: dict[str, tuple[str, ...]] = {", *sorted(lines), "}"]) + "\n"
    )


def main(only_new: bool) -> None:
    """Verify every rule and write what was found; a rule that is wrong is listed as unverified."""
    found = {}
    for rule in sg.rules:
        if only_new and rule.verified:
            found[rule.name] = rule.verified
            continue
        try:
            found[rule.name] = verify(rule)
        except WrongLaw as error:
            found[rule.name] = ()
            print(f"{rule.name}: {error}")
    TABLE.write_text(table(found))
    PAGE.write_text(page(found))


if __name__ == "__main__":
    main(only_new="new" in sys.argv)
