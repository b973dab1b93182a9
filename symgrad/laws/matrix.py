"""What matrices are known to be: triangles, and factorisations that contain one another."""

from __future__ import annotations

import numpy as np

from symgrad.expr import Expr, add, item, literal_value
from symgrad.ops.linalg import cholesky, eig, svd
from symgrad.ops.matrix import tril, triu
from symgrad.ops.pointwise import ge, select
from symgrad.ops.shape import broadcast, iota
from symgrad.pattern import rewrites
from symgrad.walk import Graph, substitute


@rewrites(select, exact=True)
def triangle_from_comparison(e: Expr) -> Expr | None:
    """where(row + k >= column, x, 0) = tril(x, k), and the other way round triu(x, k + 1)"""
    which, on_true, on_false = e.args
    offset = _diagonal_of(which)
    if offset is None:
        return None
    if on_true.shape == e.shape and _is_zero(on_false):
        return tril(on_true, offset=offset)
    if on_false.shape == e.shape and _is_zero(on_true):
        return triu(on_false, offset=offset + 1)
    return None


def _is_zero(x: Expr) -> bool:
    value = literal_value(x.args[0] if x.op is broadcast else x)
    return value is not None and value == 0 and not np.signbit(np.real(value))


def _diagonal_of(mask: Expr) -> int | None:
    """k if a mask says row + k >= column in the last two axes."""
    if mask.op is broadcast and mask.params["axes"] == (mask.ndim - 2, mask.ndim - 1):
        (mask,) = mask.args
    if mask.op is not ge or mask.ndim != 2:
        return None
    rows, columns = (_counted(x, axis) for x, axis in zip(mask.args, (0, 1), strict=True))
    return None if rows is None or columns is None else rows - columns


def _counted(x: Expr, axis: int) -> int | None:
    """k if `x` counts k, k + 1, ... along one axis of a matrix."""
    if x.op is not broadcast or x.params["axes"] != (axis,):
        return None
    (counter,) = x.args
    start = 0
    if counter.op is add:
        values = [literal_value(a) for a in counter.args]
        start = next((int(v) for v in values if v is not None), 0)
        (counter, *rest) = [a for a, v in zip(counter.args, values, strict=True) if v is None]
        if rest:
            return None
    full = counter.shape == (x.shape[axis],)
    return start if counter.op is iota and full and np.dtype(counter.dtype).kind == "i" else None


@rewrites(tril, exact=True)
def triangle_of_a_factor(e: Expr) -> Expr | None:
    """tril(L) = L for a lower triangular factor"""
    (x,) = e.args
    return x if x.op is cholesky and e.params["offset"] >= 0 else None


def merge_factorisations(graph: Graph) -> Graph:
    """Singular values and eigenvalues are read off a factorisation that has the vectors too.

    Their derivatives need the vectors, so differentiation asks for them.
    """
    nodes = graph.nodes
    replacement = {}
    for node in nodes:
        if node.op is svd and not node.params["compute_uv"]:
            same = {"full_matrices": False, "compute_uv": True}
            replacement |= _read_off(node, {**node.params, **same}, 1, nodes)
        elif node.op is eig and not (node.params["left"] or node.params["right"]):
            replacement |= _read_off(node, {**node.params, "right": True}, 0, nodes)
    if not replacement:
        return graph
    renamed = dict(zip(nodes, substitute(nodes, replacement), strict=True))
    origins = {renamed[n]: o for n, o in graph.origins.items() if n in renamed}
    return graph.with_roots([renamed[r] for r in graph.roots], {**graph.origins, **origins})


def _read_off(node: Expr, params: dict[str, object], index: int, nodes: list[Expr]) -> dict:
    whole = node.op(*node.args, **params)
    return {node: item(whole, index=index)} if whole in nodes else {}
