"""How operations on arrays are written: matrices, sums over axes, parts of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgrad.expr import (
    Expr,
    Op,
    add,
    captured,
    div,
    item,
    literal,
    mul,
    sub,
)
from symgrad.formula import (
    ATOM,
    HADAMARD,
    NOTATION,
    POWER,
    PRODUCT,
    SUM,
    Notation,
    Part,
    applied,
    named,
    number,
)
from symgrad.notation.contractions import contraction, entry, letters, transposed, whole
from symgrad.notation.scalars import FUNCTIONS
from symgrad.notation.symbols import symbol
from symgrad.ops import (
    assume,
    companions,
    contract,
    entropy,
    index,
    inverse,
    linalg,
    matrix,
    moments,
    norm,
    odds,
    pointwise,
    reduce,
    shape,
    stable,
)

Formula = Callable[[Expr, Sequence[Part]], Part]

BELOW = ("axis", "axes", "offset", "k", "permutation", "size", "lower", "kind")
"""Parameters that are shown below the name of a function without a notation of its own."""


COLUMNS, ROWS = r" \, \mathbf{1}^{\top}", r"\mathbf{1} \, "
"""A vector as every column of a matrix, as every row."""


def formula(node: Expr, parts: Sequence[Part]) -> Part:
    """One operation, its operands written as `parts`."""
    known = FORMULAS.get(node.op)
    if known is not None:
        return known(node, parts)
    notation = NOTATION.get(node.op) or FUNCTIONS.get(node.op)
    if notation is not None:
        return applied(notation, parts)
    return _application(node.op.name, _below(node), parts)


def _application(name: str, below: str, parts: Sequence[Part]) -> Part:
    template, tightness, places = named(name, len(parts))
    if below:
        template = template.replace("}", f"}}_{{{below}}}", 1)
    return applied((template, tightness, places), parts)


def _below(node: Expr) -> str:
    shown = [node.params[p] for p in BELOW if p in node.op.params]
    return ", ".join(_plain(v) for v in shown if v is not None and not isinstance(v, bool))


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_plain, value))
    return str(getattr(value, "name", value)).replace("_", r"\_")


def _is_array(part: Expr) -> bool:
    return part.ndim > 0 and not _repeated_number(part)


def _repeated_number(node: Expr) -> bool:
    return node.op is shape.broadcast and not node.args[0].ndim


# Arithmetic


def _sum(node: Expr, parts: Sequence[Part]) -> Part:
    x, y = parts
    if y.text.startswith("-"):
        return Part(f"{x.within(SUM)} - {y.text[1:].lstrip()}", SUM)
    return applied(NOTATION[add], parts)


def _product(node: Expr, parts: Sequence[Part]) -> Part:
    x, y = node.args
    p, q = parts
    if _is_array(x) and _is_array(y):
        return _with_diagonal(x, p, q) or _with_diagonal(y, q, p) or _hadamard(p, q)
    if _is_array(x) or y.op is literal:
        p, q = q, p
    if p.text == "-1":
        return Part(f"-{q.within(PRODUCT)}", SUM)
    p, q = Part(p.within(PRODUCT), PRODUCT), Part(q.within(PRODUCT), PRODUCT)
    between = r" \cdot " if q.text[:1].isdigit() else r" \, "
    return Part(f"{p.text}{between}{q.text}", PRODUCT)


def _with_diagonal(vector: Expr, part: Part, other: Part) -> Part | None:
    """Entry by entry with a vector that is repeated: a product with a diagonal matrix."""
    if vector.op is not shape.broadcast:
        return None
    if part.text.endswith(COLUMNS) and other.text.startswith(ROWS):
        column, row = part.text.removesuffix(COLUMNS), other.text.removeprefix(ROWS)
        return Part(rf"{column} \, {row}", PRODUCT)
    if part.text.endswith(COLUMNS):
        diagonal = rf"\operatorname{{diag}}\left({part.text.removesuffix(COLUMNS)}\right)"
        return Part(rf"{diagonal} \, {other.within(PRODUCT)}", PRODUCT)
    if part.text.startswith(ROWS):
        row = transposed(Part(part.text.removeprefix(ROWS)))
        return Part(
            rf"{other.within(PRODUCT)} \, \operatorname{{diag}}\left({row.text}\right)", PRODUCT
        )
    return None


def _hadamard(x: Part, y: Part) -> Part:
    held = [p.text if p.tightness == HADAMARD else p.within(POWER) for p in (x, y)]
    return Part(rf"{held[0]} \odot {held[1]}", HADAMARD)


def _quotient(node: Expr, parts: Sequence[Part]) -> Part:
    if not _is_array(node.args[1]):
        if _is_array(node.args[0]) and node.args[0].ndim:
            one = applied(NOTATION[div], [Part("1"), parts[1]])
            return Part(f"{one.text} {parts[0].within(PRODUCT)}", PRODUCT)
        return applied(NOTATION[div], parts)
    return Part(rf"{parts[0].within(POWER)} \oslash {parts[1].within(POWER)}", HADAMARD)


def _raised(part: Part, power: str, *, array: bool) -> Part:
    circle = r"\odot " if array else ""
    return Part(f"{part.within(ATOM)}^{{{circle}{power}}}", POWER)


def _power(node: Expr, parts: Sequence[Part]) -> Part:
    return _raised(parts[0], parts[1].text, array=node.ndim > 0)


def _exponential(node: Expr, parts: Sequence[Part]) -> Part:
    if node.ndim:
        return Part(rf"\exp\left({parts[0].text}\right)")
    return applied(NOTATION[pointwise.exp], parts)


def _rounded(node: Expr, parts: Sequence[Part]) -> Part:
    return parts[0]


# Shapes


def _broadcast(node: Expr, parts: Sequence[Part]) -> Part:
    """A vector as the rows or the columns of a matrix; a number stays what it is."""
    (x,), (part,), axes = node.args, parts, node.params["axes"]
    if not x.ndim or x.shape == node.shape:
        return part
    if node.ndim == 2 and x.type.size == node.type.size:
        return part if axes == (0,) or x.ndim == 2 else transposed(part)
    if node.ndim == 2 and (x.shape[1:] == (1,) or axes == (0,)):
        return Part(part.within(PRODUCT) + COLUMNS, PRODUCT)
    if node.ndim == 2 and x.ndim == 2:
        return Part(ROWS + part.within(PRODUCT), PRODUCT)
    if node.ndim == 2:
        return Part(ROWS + transposed(part).text, PRODUCT)
    return whole(entry(part, letters(axes)), letters(range(node.ndim)))


def _reshape(node: Expr, parts: Sequence[Part]) -> Part:
    """Axes of extent 1 come and go: a vector is a column, and a row is its transpose."""
    (x,), (part,) = node.args, parts
    if [n for n in x.shape if n != 1] == [n for n in node.shape if n != 1]:
        shapes = (x.shape, node.shape)
        row = any(len(s) == 2 and s[0] == 1 and s[1] != 1 for s in shapes)
        return transposed(part) if row and {len(s) for s in shapes} == {1, 2} else part
    return _application("reshape", r" \times ".join(map(str, node.shape)) or "1", parts)


def _transpose(node: Expr, parts: Sequence[Part]) -> Part:
    if node.ndim == 2:
        return transposed(parts[0])
    permutation = node.params["permutation"]
    return whole(
        entry(parts[0], letters([permutation.index(i) for i in range(node.ndim)])),
        letters(range(node.ndim)),
    )


def _slice(node: Expr, parts: Sequence[Part]) -> Part:
    """Ranges as Python writes them, from 0 and without their end; a single place by its number."""
    p = node.params
    sizes = node.args[0].shape
    steps = p["step"] or (1,) * len(sizes)
    ranges = [_range(*r) for r in zip(p["start"], p["stop"], steps, sizes, strict=True)]
    return Part(entry(parts[0], ", ".join(ranges)))


def _range(start: int, stop: int, step: int, size: int) -> str:
    if (start, stop, step) == (0, size, 1):
        return ":"
    if stop - start == 1:
        return str(start)
    return f"{start}:{stop}" + (f":{step}" if step != 1 else "")


def _concatenate(node: Expr, parts: Sequence[Part]) -> Part:
    if node.ndim > 2:
        return _application("concatenate", str(node.params["axis"]), parts)
    between = r" \\ " if node.params["axis"] == 0 else " & "
    rows = between.join(p.text for p in parts)
    return Part(rf"\begin{{bmatrix}} {rows} \end{{bmatrix}}")


def _iota(node: Expr, parts: Sequence[Part]) -> Part:
    axis = node.params["axis"]
    if node.ndim > 1:
        return whole(letters([axis]), letters(range(node.ndim)))
    size = node.shape[0]
    shown = range(size) if size < 5 else (0, 1, r"\dots", size - 1)
    return Part(rf"\left({', '.join(map(str, shown))}\right)")


# Along axes


def _over(sign: str) -> Formula:
    """A sum, product or extremum over axes, with named indices."""

    def written(node: Expr, parts: Sequence[Part]) -> Part:
        rank, axes = node.args[0].ndim, node.params["axes"]
        below = ", ".join(letters([a]) for a in axes)
        body = entry(parts[0], letters(range(rank)))
        kept = letters([a for a in range(rank) if a not in axes])
        return whole(f"{sign}_{{{below}}} {body}" if below else body, kept)

    return written


def _matrix_sum(node: Expr, parts: Sequence[Part]) -> Part:
    """Sums of rows and columns are products with a vector of ones."""
    if node.args[0].ndim == 2 and len(node.params["axes"]) == 1:
        part = parts[0] if node.params["axes"] == (1,) else transposed(parts[0])
        return Part(rf"{part.within(PRODUCT)} \, \mathbf{{1}}", PRODUCT)
    return _over(r"\sum")(node, parts)


def _along(name: str) -> Formula:
    """A function of vectors; which axis they run along is said where there are several."""

    def written(node: Expr, parts: Sequence[Part]) -> Part:
        axes = node.params.get("axes") or (node.params.get("axis"),)
        below = "" if node.args[0].ndim < 2 else ",".join(map(str, axes))
        return _application(name, below, parts)

    return written


def _softmax_slope(node: Expr, parts: Sequence[Part]) -> Part:
    """The Jacobian diag(p) - p pᵀ of a softmax, or of that of each row, times x."""
    x, p = parts[0].within(PRODUCT), parts[1].within(PRODUCT)
    if node.ndim == 1:
        return Part(rf"{p} \odot \left({x} - {transposed(parts[1]).text} \, {x}\right)", HADAMARD)
    if node.ndim == 2 and node.params["axis"] == 1:
        mean = rf"\left({_hadamard(parts[1], parts[0]).text}\right) \, \mathbf{{1}}{COLUMNS}"
        return Part(rf"{p} \odot \left({x} - {mean}\right)", HADAMARD)
    return _application("softmax'", str(node.params["axis"]), parts)


def _log_softmax_slope(node: Expr, parts: Sequence[Part]) -> Part:
    """What pulls x back through log p, x minus p times the sum of x, also of each row."""
    x, p = parts[0].within(PRODUCT), parts[1].within(PRODUCT)
    if node.ndim == 1:
        return Part(rf"{parts[0].within(SUM)} - {p}{COLUMNS} \, {x}", SUM)
    if node.ndim == 2 and node.params["axis"] == 1:
        total = rf"\left({x} \, \mathbf{{1}}{COLUMNS}\right)"
        return Part(rf"{parts[0].within(SUM)} - {p} \odot {total}", SUM)
    return _application("log\\,softmax'", str(node.params["axis"]), parts)


def _norm(node: Expr, parts: Sequence[Part]) -> Part:
    rank, axes = node.args[0].ndim, node.params["axes"]
    length = rf"\left\Vert {parts[0].text} \right\Vert"
    if len(axes) == rank:
        return Part(f"{length}_{{{'F' if rank > 1 else '2'}}}")
    return Part(f"{length}_{{2, {','.join(map(str, axes))}}}")


def _one_hot(node: Expr, parts: Sequence[Part]) -> Part:
    labels = node.args[0]
    if labels.op is shape.iota and labels.shape == (node.params["size"],):
        return Part(f"I_{{{labels.shape[0]}}}")
    if not node.args[0].ndim:
        return Part(f"e_{{{parts[0].text}}}")
    return _application("onehot", str(node.params["size"]), parts)


def _take(node: Expr, parts: Sequence[Part]) -> Part:
    x, *indices = parts
    indexing = node.params["indexing"]
    if len(indices) == 1 and indexing.start_index_map == (0,) and len(indexing.slice_sizes) <= 2:
        return Part(entry(x, indices[0].text + ", :" * (len(indexing.slice_sizes) - 1)))
    return _application("take", "", parts)


# Matrices


def _inverse(node: Expr, parts: Sequence[Part]) -> Part:
    return Part(f"{parts[0].within(ATOM)}^{{-1}}", POWER)


def _solve(node: Expr, parts: Sequence[Part]) -> Part:
    power = r"-\top" if node.params.get("transpose") else "-1"
    matrix_, right = parts
    return Part(rf"{matrix_.within(ATOM)}^{{{power}}} \, {right.within(PRODUCT)}", PRODUCT)


def _triangular(node: Expr, parts: Sequence[Part]) -> Part:
    p = node.params
    triangle = "tril" if p["lower"] else "triu"
    factor = rf"\operatorname{{{triangle}}}\left({parts[0].text}\right)"
    inverse_ = rf"{factor}^{{{'-' + chr(92) + 'top' if p['transpose'] else '-1'}}}"
    pair = (inverse_, parts[1].within(PRODUCT))
    return Part(r" \, ".join(pair if p["left"] else pair[::-1]), PRODUCT)


# Leaves


def _literal(node: Expr, parts: Sequence[Part]) -> Part:
    value = node.params["value"].value
    if value.dtype == np.bool_:
        return Part(rf"\mathrm{{{str(bool(value)).lower()}}}")
    if np.issubdtype(value.dtype, np.complexfloating):
        real, imaginary = number(float(value.real)).text, number(float(value.imag))
        turned = (
            r"\mathrm{i}" if value.imag == 1 else rf"{imaginary.within(PRODUCT)} \, \mathrm{{i}}"
        )
        return Part(f"{real} + {turned}", SUM) if value.real else Part(turned, PRODUCT)
    if np.issubdtype(value.dtype, np.integer):
        return Part(str(int(value)), SUM if value < 0 else ATOM)
    return number(float(str(value)))


def _captured(node: Expr, parts: Sequence[Part]) -> Part:
    return Part(symbol(node.params["array"].name))


def _item(node: Expr, parts: Sequence[Part]) -> Part:
    return Part(entry(parts[0], str(node.params["index"] + 1)))


def _gaussian_derivative(node: Expr, parts: Sequence[Part]) -> Part:
    order = node.params["order"]
    return Part(
        rf"\frac{{\mathrm{{d}}^{{{order}}}}}{{\mathrm{{d}} t^{{{order}}}}} e^{{-t^2}}"
        rf"\Big|_{{t = {parts[0].text}}}",
        PRODUCT,
    )


def _of_notation(notation: Notation) -> Formula:
    return lambda node, parts: applied(notation, parts)


FORMULAS: Mapping[Op, Formula] = {
    literal: _literal,
    captured: _captured,
    item: _item,
    add: _sum,
    sub: _of_notation(NOTATION[sub]),
    mul: _product,
    div: _quotient,
    pointwise.square: lambda node, parts: _raised(parts[0], "2", array=node.ndim > 0),
    pointwise.power: _power,
    pointwise.integer_power_op: lambda node, parts: _raised(
        parts[0], str(node.params["exponent"]), array=node.ndim > 0
    ),
    pointwise.exp: _exponential,
    pointwise.rsqrt: lambda node, parts: (
        _raised(parts[0], "-1/2", array=True)
        if node.ndim
        else applied(NOTATION[pointwise.rsqrt], parts)
    ),
    pointwise.convert_op: _rounded,
    pointwise.name: _rounded,
    pointwise.stop_gradient: _rounded,
    assume.assumed: _rounded,
    pointwise.gaussian_derivative: _gaussian_derivative,
    shape.broadcast: _broadcast,
    shape.reshape_op: _reshape,
    shape.transpose: _transpose,
    shape.slice_: _slice,
    shape.concatenate: _concatenate,
    shape.iota: _iota,
    shape.reduce_sum: _matrix_sum,
    reduce.reduce_prod: _over(r"\prod"),
    reduce.reduce_max: _over(r"\max"),
    reduce.reduce_min: _over(r"\min"),
    reduce.softmax: _along("softmax"),
    reduce.softmax_slope: _softmax_slope,
    reduce.log_softmax_slope: _log_softmax_slope,
    reduce.log_softmax: _along(r"log\,softmax"),
    odds.one_minus_softmax_op: _along(r"(1 - softmax)"),
    odds.log_odds_op: _along(r"log\,odds\,softmax"),
    reduce.logsumexp: _along("logsumexp"),
    companions.logsumexp: _along("logsumexp"),
    entropy.masked_softmax: _along("softmax"),
    entropy.masked_log_softmax: _along(r"log\,softmax"),
    entropy.masked_logsumexp: _along("logsumexp"),
    stable.weighted_logsumexp: _along("logsumexp"),
    reduce.argmax: _along(r"arg\,max"),
    reduce.argmin: _along(r"arg\,min"),
    reduce.one_hot: _one_hot,
    norm.norm: _norm,
    moments.centered: _along("center"),
    index.gather_fill: _take,
    index.gather_op: _take,
    contract.einsum_op: contraction,
    matrix.eye: lambda node, parts: Part(f"I_{{{node.shape[0]}}}"),
    inverse.inverse: _inverse,
    inverse.solve: _solve,
    linalg.cholesky: lambda node, parts: _application("chol", "", parts),
}
