"""What JAX's functions of linear equations and determinants mean, as products with inverses.

JAX writes them as factorisations and what is done with the factors. Which matrix was
factorised for what is still to be seen in a trace, batched or not; where it is not as
expected, the trace is read as it stands.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from symgrad.expr import Expr
from symgrad.ops.contract import einsum_op
from symgrad.ops.inverse import slogdet, solve_along
from symgrad.ops.linalg import cholesky, lu
from symgrad.ops.matrix import is_complex
from symgrad.ops.pointwise import stop_gradient
from symgrad.ops.shape import transpose
from symgrad.plan.network import SINGLE, Axes, Network, contracted, leaf
from symgrad.tracing.location import definition_of
from symgrad.walk import Graph, topological


@functools.cache
def _definitions() -> dict[str, str]:
    """The functions inside JAX that are looked for, by name."""
    found: dict[str, str] = {}
    matrix, vector = jax.ShapeDtypeStruct((3, 3), "float32"), jax.ShapeDtypeStruct((3,), "float32")
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (jnp.linalg.solve, (matrix, vector)),
        (functools.partial(jax.scipy.linalg.solve, assume_a="pos"), (matrix, vector)),
        (jnp.linalg.slogdet, (matrix,)),
    ]
    for function, args in calls:
        stack = [jax.make_jaxpr(function)(*args).jaxpr]
        while stack:
            jaxpr = stack.pop()
            name = definition_of(jaxpr)
            found.setdefault(name.partition(" at ")[0], name)
            for eqn in jaxpr.eqns:
                stack.extend(_bodies(eqn))
    return found


def _bodies(eqn: Any) -> list[Any]:
    p = eqn.params
    held = [p.get("jaxpr"), p.get("call_jaxpr")]
    if eqn.primitive.name == "custom_linear_solve":
        held.append(p["jaxprs"].solve)
    return [getattr(h, "jaxpr", h) for h in held if h is not None]


def is_slogdet(jaxpr: Any) -> bool:
    """Whether a function is `slogdet` by LU factors, of matrices in the last two axes."""
    if definition_of(jaxpr) != _definitions().get("_slogdet_lu"):
        return False
    # Where `jax.vmap` has put an axis elsewhere, it is moved to the front first.
    first = jaxpr.eqns[0]
    return first.primitive.name == "lu" and first.invars[0] is jaxpr.invars[0]


def read_slogdet(a: Expr) -> Expr:
    return slogdet(a, definite=False)


def read_solution(
    operands: Sequence[Expr], counts: Sequence[int], solve: Any, matvec: Graph
) -> Expr | None:
    """A⁻¹ b, of a matrix that JAX has factorised itself."""
    definite = _factorisation(operands, counts, solve)
    if definite is None:
        return None
    a, b = operands[0], operands[-1]
    forms = _networks(matvec)
    found = None if forms is None else forms.get(matvec.outputs[0])
    if found is None or found.scale != 1 or len(found.factors) != 2:
        return None
    axes = {f.node: f.axes for f in found.factors}
    if axes.keys() != set(matvec.inputs):
        return None
    matrix, vector = (axes[i] for i in matvec.inputs)
    return _solution(a, b, matrix, vector, found.out, definite)


def _factorisation(operands: Sequence[Expr], counts: Sequence[int], solve: Any) -> bool | None:
    """Whether the factor is Cholesky's; None if it is not JAX's own of the first operand."""
    matvec, vecmat, used, _ = counts
    if matvec != 1 or len(operands) != sum(counts) + 1:
        return None
    names = _definitions()
    calls = [e for e in solve.jaxpr.eqns if e.primitive.name in ("jit", "pjit")]
    if len(calls) != 1:
        return None
    definition = definition_of(calls[0].params["jaxpr"].jaxpr)
    op = {names.get("_lu_solve"): lu, names.get("_cho_solve"): cholesky}.get(definition)
    consts = operands[matvec + vecmat : matvec + vecmat + used]
    factors = [n for n in topological(consts) if n.op is op]
    if op is None or len(factors) != 1 or _source(*factors[0].args) is not _source(operands[0]):
        return None
    definite = op is cholesky
    return None if definite and is_complex(operands[0]) else definite


def _source(x: Expr) -> Expr:
    while x.op in (stop_gradient, transpose):
        (x,) = x.args
    return x


def _networks(graph: Graph) -> dict[Expr, Network] | None:
    forms: dict[Expr, Network] = {i: leaf(i) for i in graph.inputs}
    for node in topological(graph.outputs):
        if node in forms:
            continue
        if any(a not in forms for a in node.args):
            return None
        operands = [forms[a] for a in node.args]
        if node.op is einsum_op:
            found = contracted(node, *operands)
        else:
            found = SINGLE[node.op](node, *operands) if node.op in SINGLE else None
        if found is None:
            return None
        forms[node] = found
    return forms


def _solution(
    a: Expr, b: Expr, matrix: Axes, vector: Axes, out: Axes, definite: bool
) -> Expr | None:
    """The x for which the product of a and x, with these axes, is b."""
    columns = [i for i in matrix if i in vector and i not in out]
    rows = [i for i in matrix if i in out and i not in vector]
    batch = tuple(i for i in matrix if i in out and i in vector)
    if len(columns) != 1 or len(rows) != 1 or len(batch) + 2 != len(matrix):
        return None
    order = tuple(matrix.index(i) for i in (*batch, *rows, *columns))
    ordered = a if order == tuple(range(a.ndim)) else transpose(a, permutation=order)
    result = tuple(rows[0] if i == columns[0] else i for i in vector)
    return solve_along(ordered, b, out, batch, rows[0], result, transpose=False, definite=definite)
