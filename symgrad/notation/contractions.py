"""Contractions as people write them: products of matrices and vectors, or sums over indices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from symgrad.expr import Expr
from symgrad.formula import POWER, PRODUCT, Part
from symgrad.ops.shape import broadcast

LETTERS = "ijklmnpqrstuvwabcdeghxyz"
"""Indices, in the order in which they are used up."""

SYMBOL = re.compile(r"(\\(bar|hat|dot|tilde|mathrm)\{)*\\?\w+\}*(_\{[^{}]*\})?")


def letters(numbers: Sequence[int]) -> str:
    """The indices of these numbers; after the alphabet they are numbered."""
    few = max(numbers, default=0) < len(LETTERS)
    return "".join(LETTERS[n] if few else f"i_{{{n}}}" for n in numbers)


def entry(part: Part, indices: str) -> str:
    """One entry of an array."""
    if not indices:
        return part.within(PRODUCT)
    if part.text.startswith(r"\left[") and _closes_at_end(part.text, rf"\right]_{{{indices}}}"):
        return part.text.removeprefix(r"\left[").removesuffix(rf"\right]_{{{indices}}}")
    if SYMBOL.fullmatch(part.text):
        base = f"{{{part.text}}}" if "_" in part.text else part.text
        return f"{base}_{{{indices}}}"
    return rf"\left[{part.text}\right]_{{{indices}}}"


def _closes_at_end(text: str, closing: str) -> bool:
    """Whether the bracket that a text begins with is the one it ends with."""
    if not text.endswith(closing):
        return False
    depth = 0
    for found in re.finditer(r"\\left\[|\\right\]", text):
        depth += 1 if found[0] == r"\left[" else -1
        if not depth:
            return found.start() == len(text) - len(closing)
    return False


def whole(text: str, indices: str) -> Part:
    """The array that has these entries."""
    return Part(rf"\left[{text}\right]_{{{indices}}}") if indices else Part(text, PRODUCT)


def transposed(part: Part) -> Part:
    """A matrix with rows and columns exchanged."""
    if part.text.endswith(r"^{\top}"):
        return Part(part.text.removesuffix(r"^{\top}"))
    if part.text.endswith("^{-1}") and part.tightness == POWER:
        return Part(part.text.removesuffix("^{-1}") + r"^{-\top}", POWER)
    return Part(rf"{part.within(POWER + 1)}^{{\top}}", POWER)


def contraction(node: Expr, parts: Sequence[Part]) -> Part:
    """An einsum: a chain of matrix products where it is one."""
    indices, out = node.params["indices"], node.params["out"]
    parts = [_filled(a, p) for a, p in zip(node.args, parts, strict=True)]
    chain = chain_of(indices, out)
    if chain is not None:
        factors = [parts[i] if upright else transposed(parts[i]) for i, upright in chain]
        return Part(r" \, ".join(map(_factor, factors)), PRODUCT)
    if len(indices) == 2 and indices[0] == indices[1] and len(indices[0]) > 1 and not out:
        pair = ", ".join(p.text for p in parts)
        return Part(rf"\left\langle {pair} \right\rangle")
    if indices in (((0, 0),),) and len(out) < 2:
        name = "diag" if out else "tr"
        return Part(rf"\operatorname{{{name}}}\left({parts[0].text}\right)")
    product = r" \, ".join(entry(p, letters(i)) for p, i in zip(parts, indices, strict=True))
    summed = sorted({i for names in indices for i in names} - set(out))
    total = rf"\sum_{{{', '.join(letters([i]) for i in summed)}}} {product}" if summed else product
    return whole(total, letters(out))


def _filled(node: Expr, part: Part) -> Part:
    """A factor that is the same number throughout is a number times ones."""
    if node.op is not broadcast or node.args[0].ndim or not node.ndim:
        return part
    ones = Part(r"\mathbf{1}")
    return ones if part.text == "1" else Part(rf"{part.within(PRODUCT)} \, {ones.text}", PRODUCT)


def _factor(part: Part) -> str:
    """A number in front of a factor is not to be read as one between factors."""
    scaled = part.text[:1].isdigit() or part.text.startswith(r"\frac")
    return part.within(POWER if scaled else PRODUCT)


Chain = list[tuple[int, bool]]


def chain_of(indices: Sequence[tuple[int, ...]], out: tuple[int, ...]) -> Chain | None:
    """The order of factors whose product this is, and which of them stand upright.

    A factor is a matrix or a vector; neighbours share one index, which nobody else has.
    """
    counts = Counter(i for names in indices for i in names)
    if len(out) > 2 or any(not 1 <= len(names) <= 2 for names in indices):
        return None
    if any(len(set(names)) != len(names) for names in indices) or len(set(out)) != len(out):
        return None
    if any(n != (1 if i in out else 2) for i, n in counts.items()) or set(out) - set(counts):
        return None
    left = out[0] if len(out) == 2 else None
    for first, names in enumerate(indices):
        found = _followed(indices, first, left) if _may_start(names, out) else None
        if found is not None:
            return found
    return None


def _may_start(names: tuple[int, ...], out: tuple[int, ...]) -> bool:
    """Rows of the result come first; a number starts with a vector."""
    if not out:
        return len(names) == 1
    if len(out) == 1:
        return names == (out[0],) or (out[0] in names and len(names) == 2)
    return out[0] in names


def _followed(indices: Sequence[tuple[int, ...]], first: int, rows: int | None) -> Chain | None:
    names = indices[first]
    if len(names) == 1:
        # A column on the left of a product is a row; an outer product starts with a column.
        outer = rows is not None
        if outer:
            others = [i for i in range(len(indices)) if i != first]
            if len(others) != 1 or len(indices[others[0]]) != 1:
                return None
            return [(first, True), (others[0], False)]
        if len(indices) == 1:
            return None
        chain, following = [(first, False)], names[0]
    else:
        start = rows if rows is not None else _lone(indices, names)
        if start is None or start not in names:
            return None
        upright = names[0] == start
        chain, following = [(first, upright)], names[1] if upright else names[0]
    used = {first}
    while True:
        onward = [i for i, n in enumerate(indices) if i not in used and following in n]
        if not onward:
            break
        (then,) = onward
        names = indices[then]
        used.add(then)
        if len(names) == 1:
            chain.append((then, True))
            break
        upright = names[0] == following
        chain.append((then, upright))
        following = names[1] if upright else names[0]
    return chain if len(used) == len(indices) else None


def _lone(indices: Sequence[tuple[int, ...]], names: tuple[int, ...]) -> int | None:
    """The index of a matrix that no other factor has."""
    counts = Counter(i for n in indices for i in n)
    lone = [i for i in names if counts[i] == 1]
    return lone[0] if len(lone) == 1 else None
