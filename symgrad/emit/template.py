"""Op sources as templates: where operands go, and where Python wants parentheses.

`ast` decides about parentheses. It is asked once for each template, place and
kind of operand, so writing a program is joining strings.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PLACES = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of Python: an expression, and an expression of the same kind for `ast`.

    Attributes:
        code: the expression.
        kind: a short expression with the same operator outermost, `a` for what never
            needs parentheses.
    """

    code: str
    kind: str = "a"


@functools.lru_cache(maxsize=4096)
def kind_of(code: str) -> str:
    """A representative of all expressions with the same outermost operator as `code`."""
    match ast.parse(code, mode="eval").body:
        case ast.BinOp() as tree:
            tree.left, tree.right = ast.Name("a"), ast.Name("b")
        case ast.UnaryOp() as tree:
            tree.operand = ast.Name("a")
        case ast.Compare() as tree:
            tree.left, tree.comparators = ast.Name("a"), [ast.Name("b")]
        case ast.Tuple() | ast.Lambda() | ast.IfExp() | ast.BoolOp() as tree:
            return ast.unparse(tree)
        case _:
            return "a"
    return ast.unparse(tree)


@functools.lru_cache(maxsize=4096)
def _places(template: str) -> tuple[tuple[int, int, int], ...]:
    """Start, end and operand number of each place; -1 stands for all operands."""
    tree = ast.parse(template, mode="eval")
    places = []
    for node in ast.walk(tree):
        match node:
            case ast.Starred(value=ast.Name(id="xs")):
                places.append((node.col_offset, node.end_col_offset or 0, -1))
            case ast.Subscript(value=ast.Name(id="xs"), slice=ast.Constant(value=int(i))):
                places.append((node.col_offset, node.end_col_offset or 0, i))
            case ast.Name(id=name) if name in PLACES:
                places.append((node.col_offset, node.end_col_offset or 0, PLACES[name]))
    return tuple(sorted(places))


@functools.lru_cache(maxsize=65536)
def _needs_parentheses(template: str, place: tuple[int, int], kind: str) -> bool:
    """Whether `ast` puts an operand of this kind, at this place, into parentheses."""
    if kind == "a":
        return False
    bare = _unparsed(template, place, ast.Name("operand_"))
    return bare.replace("operand_", kind) != _unparsed(
        template, place, ast.parse(kind, mode="eval").body
    )


def _unparsed(template: str, place: tuple[int, int], operand: ast.expr) -> str:
    """The template with one place filled, as `ast` writes it."""

    class Fill(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if isinstance(node, ast.expr) and (node.col_offset, node.end_col_offset) == place:
                return operand
            return self.generic_visit(node)

    return ast.unparse(Fill().visit(ast.parse(template, mode="eval")))


def fill(template: str, operands: Sequence[Text]) -> Text:
    """The template with its operands written in."""
    pieces, position = [], 0
    for start, end, number in _places(template):
        pieces.append(template[position:start])
        if number == -1:
            pieces.append(", ".join(o.code for o in operands))
        else:
            operand = operands[number]
            wrap = _needs_parentheses(template, (start, end), operand.kind)
            pieces.append(f"({operand.code})" if wrap else operand.code)
        position = end
    pieces.append(template[position:])
    return Text("".join(pieces), kind_of(template))


def times_written(source: Any, operand: int) -> int:
    """How often a template writes an operand; once, where that depends on the node."""
    if not isinstance(source, str) or "{" in source:
        return 1
    return max(1, sum(number == operand for _, _, number in _places(source)))
