"""Every primitive of JAX through symgrad: what agrees with JAX, and the table of it.

`python tests/sweep.py` writes `docs/support.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from primitives import CASES, UNREACHED, Case, Variant
from together import Jax, Problem, agree, attempt, compiled_together, generator

import symgrad as sg

PAGE = Path(__file__).parent.parent / "docs" / "support.md"

TOLERANCE = {"float32": 2e-5, "float64": 1e-10, "bfloat16": 2**-6, "float16": 2**-9}
"""Of the largest entry of a result; in half precision a few units in the last place."""

YES, NONE, NOT_YET = "yes", "JAX has none", "not yet"


@dataclass(frozen=True)
class Outcome:
    """What symgrad and JAX computed of a variant, or the errors they raised."""

    what: str
    ours: Any
    theirs: Any
    tolerance: float
    scale: float
    exact: Callable[[], Any] | None = None

    def check(self) -> None:
        """Results agree; where JAX has none, symgrad does better or says why not.

        In half precision JAX may be off itself: then `exact` decides, what it computes in single.

        Raises:
            AssertionError: results differ, or symgrad raised what is no sentence of its own.
            Exception: what symgrad raised where JAX computes.
        """
        if isinstance(self.theirs, Exception):
            refused = isinstance(self.ours, sg.SymgradError) or self.what.startswith("batched")
            assert refused or not isinstance(self.ours, Exception), repr(self.ours)
            return
        if isinstance(self.ours, Exception):
            raise self.ours
        assert _types(self.ours) == _types(self.theirs)
        differs = attempt(lambda: agree(self.ours, self.theirs, self.tolerance, self.scale))
        if not isinstance(differs, AssertionError):
            return
        if self.exact is None:
            raise differs
        agree(self.ours, self.exact(), self.tolerance, self.scale)

    @property
    def state(self) -> str:
        """What the table says about it."""
        if isinstance(attempt(self.check), Exception):
            return NOT_YET
        return NONE if isinstance(self.ours, Exception) else YES


def _types(tree: Any) -> Any:
    """As printed: the mesh on which an array is not sharded depends on whether JAX compiles."""
    return jax.tree.map(lambda x: str(jax.typeof(x)), tree)


def sweep(
    variants: Sequence[Variant], *, first_order: bool = False
) -> dict[Variant, dict[str, Outcome]]:
    """What becomes of each variant; those that need 64 bits are compiled apart."""
    wanted = FIRST_ORDER if first_order else EVERYTHING
    found = {}
    for wide in (False, True):
        with jax.enable_x64(wide):
            found |= _sweep([v for v in variants if v.wide == wide], wanted)
    return {v: found[v] for v in variants}


FIRST_ORDER = ("value", "jvp", "vjp")
EVERYTHING = (*FIRST_ORDER, "hvp", "grad of grad", "batched value", "batched vjp")


def _sweep(variants: Sequence[Variant], wanted: Sequence[str]) -> dict[Variant, dict[str, Outcome]]:
    problems = [_problem(v) for v in variants]
    others = [_problem(v, "another row") for v in variants]

    def everything(operands: list[Any]) -> list[Any]:
        return [
            [_results(v, p, by, wanted, *rows) for by in (sg, Jax)]
            for v, p, rows in zip(variants, problems, operands, strict=True)
        ]

    operands = [(p.args, o.args) for p, o in zip(problems, others, strict=True)]
    found = compiled_together(everything, operands)
    return {
        v: {
            w: Outcome(w, ours[w], theirs[w], _tolerance(v), _scale(v), _in_single(v, w))
            for w in theirs
        }
        for v, (ours, theirs) in zip(variants, found, strict=True)
    }


def _in_single(variant: Variant, what: str) -> Callable[[], Any] | None:
    """What JAX computes from a variant's operands in single precision, if they are in half."""
    if variant.dtype not in (jnp.bfloat16, np.float16) or what.startswith("batched"):
        return None

    def computed() -> Any:
        problem = _problem(variant)
        rounded = jax.tree.map(jnp.result_type, problem.account(Jax, *problem.args)[what]())
        problem.args, problem.dots, problem.bars = jax.tree.map(
            _widened, (problem.args, problem.dots, problem.bars)
        )
        exact = problem.account(Jax, *problem.args)[what]()
        return jax.tree.map(lambda x, dtype: x.astype(dtype), exact, rounded)

    return computed


def _widened(x: Any) -> Any:
    return x.astype(np.float32) if jnp.issubdtype(x.dtype, np.floating) else x


def _problem(variant: Variant, *about: str) -> Problem:
    draws = generator((str(variant), *about))
    return Problem(variant.case.fun, variant.draw(draws), draws)


def _results(
    variant: Variant, problem: Problem, by: Any, wanted: Sequence[str], args: Any, others: Any
) -> dict[str, Any]:
    """What the problem's account says for `args`, and mapped over a batch of two."""
    account = problem.account(by, *args)
    if by is Jax:
        account |= dict.fromkeys(variant.case.late, _refused)
    rows = jax.tree.map(lambda *rows: jnp.stack(rows), args, others)
    for what in ("value", "vjp"):
        if what in account:
            row = lambda *args, what=what: problem.account(by, *args)[what]()  # noqa: E731
            account[f"batched {what}"] = lambda row=row: jax.vmap(row)(*rows)
    return {what: attempt(compute) for what, compute in account.items() if what in wanted}


def _refused() -> None:
    raise NotImplementedError("JAX says so when it compiles")


def _tolerance(variant: Variant) -> float:
    """That of the narrowest type that takes part; complex numbers are pairs of floats."""
    narrowest = min(_floats(variant), key=lambda d: jnp.finfo(d).bits, default=jnp.float32)
    return TOLERANCE[jnp.dtype(narrowest).name]


def _scale(variant: Variant) -> float:
    """Rounding errors in half precision are those of the operands, of size 1."""
    return 1.0 if _tolerance(variant) > 1e-3 else 0.0


def _floats(variant: Variant) -> list[np.dtype]:
    """The real types of everything that the function computes."""
    avals = [v.aval for e in equations(_jaxpr(variant)) for v in (*e.invars, *e.outvars)]
    dtypes = {a.dtype for a in avals if hasattr(a, "dtype")}
    return [jnp.finfo(d).dtype for d in dtypes if jnp.issubdtype(d, np.inexact)]


@cache
def _jaxpr(variant: Variant) -> Any:
    with jax.enable_x64(variant.wide):
        return jax.make_jaxpr(variant.case.fun)(*_problem(variant).args).jaxpr


def equations(jaxpr: Any) -> Iterator[Any]:
    """Those of a jaxpr and of all that it holds."""
    for equation in jaxpr.eqns:
        yield equation
        held = list(equation.params.values())
        while held:
            value = held.pop()
            if isinstance(value, tuple | list):
                held.extend(value)
            elif hasattr(value, "eqns"):
                yield from equations(value)
            elif hasattr(getattr(value, "jaxpr", None), "eqns"):
                yield from equations(value.jaxpr)


# The table


COLUMNS = {
    "forward": ("jvp",),
    "reverse": ("vjp",),
    "second order": ("hvp", "grad of grad"),
    "batched": ("batched value", "batched vjp"),
}
"""Of which outcomes each column tells."""


def row(swept: dict[Variant, dict[str, Outcome]]) -> list[str]:
    """The line of a primitive: its name and what is said of all of its cases, in each column."""
    lines = {v.case.about: _cells(v, outcomes) for v, outcomes in swept.items()}
    (name,) = {v.case.primitive for v in swept}
    usual, *others = lines.items()
    cells = [usual[1][c] for c in COLUMNS]
    for about, cell in others:
        for i, column in enumerate(COLUMNS):
            if cell[column] != usual[1][column]:
                cells[i] += f"; {about}: {cell[column]}"
    return [f"`{name}`", *cells]


def _cells(variant: Variant, outcomes: dict[str, Outcome]) -> dict[str, str]:
    kind = _kind(variant, outcomes)
    return {
        column: kind if kind and column != "batched" else _together(what, outcomes)
        for column, what in COLUMNS.items()
    }


def _kind(variant: Variant, outcomes: dict[str, Outcome]) -> str:
    """Why there is nothing to differentiate, if there is not."""
    of_it = [e for e in equations(_jaxpr(variant)) if e.primitive.name == variant.case.primitive]
    results = [v.aval for e in of_it for v in e.outvars]
    if not results or not all(isinstance(a, jax.core.ShapedArray) for a in results):
        return ""
    if not any(jnp.issubdtype(a.dtype, np.inexact) for a in results):
        return "integer valued"
    if not any(jnp.issubdtype(v.aval.dtype, np.inexact) for e in of_it for v in e.invars):
        return "constant"
    if outcomes["jvp"].state != YES or variant.case.about == "empty":
        return ""
    pushed = outcomes["jvp"].ours
    return "" if any(np.any(np.asarray(t)) for t in pushed[len(pushed) // 2 :]) else "zero"


def _together(what: Sequence[str], outcomes: dict[str, Outcome]) -> str:
    states = {w: outcomes[w].state for w in what if w in outcomes}
    if NOT_YET in states.values():
        return NOT_YET
    if states.get("batched value"):
        return states["batched value"]
    if len(set(states.values())) == 1:
        return next(iter(states.values()))
    (only,) = (w for w, state in states.items() if state == YES)
    return f"{only} only"


INTRODUCTION = """\
# What is supported

Every primitive of JAX {version} that a program can use, as the tests run it against JAX.
`make support` writes this page.

- **yes**: the same results, dtypes and weak types as JAX.
- **JAX has none**: JAX refuses, and so does symgrad, in a sentence that says what to do instead.
- **integer valued**, **constant**, **zero**: there is nothing to differentiate, because the results
  are integers or booleans, because no real number goes in, or because the derivative is zero.
- **not yet**: JAX has it and symgrad does not.
"""


def page(rows: Sequence[Sequence[str]]) -> str:
    """The whole page."""
    lines = [["primitive", *COLUMNS], ["---"] * (1 + len(COLUMNS)), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    rest = "\n".join(f"| `{name}` | {why} |" for name, why in sorted(UNREACHED.items()))
    return (
        f"{INTRODUCTION.format(version=jax.__version__)}\n{table}\n\n"
        f"## Primitives that are not swept\n\n| primitive | why |\n| --- | --- |\n{rest}\n"
    )


def by_primitive(cases: Sequence[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.primitive, []).append(case)
    return found


def parts(names: Sequence[str], size: int = 40) -> list[list[str]]:
    """So many at a time: a larger program takes longer to compile than two smaller ones."""
    return [list(names[i : i + size]) for i in range(0, len(names), size)]


def main() -> None:
    """Write the page."""
    groups = by_primitive(CASES)
    rows = []
    for names in parts(sorted(groups)):
        swept = sweep([case.variants()[0] for name in names for case in groups[name]])
        for name in names:
            rows.append(row({v: o for v, o in swept.items() if v.case.primitive == name}))
    PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
