"""Symmetric linear operators over trees: their products, sums, multiples, and other libraries'."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from symgrad.curvature import estimates, structure
from symgrad.curvature.libraries import library
from symgrad.curvature.products import Product, flattened
from symgrad.curvature.remembered import remembered
from symgrad.curvature.vectors import FLAT, MATRIX, TREE, TREES, Space
from symgrad.errors import ArgumentError, OutputError
from symgrad.report import Report


@dataclass(frozen=True, eq=False, repr=False)
class SymmetricOperator:
    """A sum of multiples of products, and of the identity, on vectors like some parameters.

    Attributes:
        terms: factors and products that are summed.
        space: of the vectors: structure, shapes and dtypes of the parameters.
        shift: the multiple of the identity that is added.
    """

    terms: tuple[tuple[float, Product], ...]
    space: Space
    shift: float = 0.0
    _factors: dict[Any, Any] = field(default_factory=dict)

    # NumPy's numbers on the left leave the multiplication to the operator.
    __array_ufunc__ = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n), where n is the number of parameters."""
        return self.space.size, self.space.size

    @property
    def dtype(self) -> Any:
        """Of flat vectors."""
        return self.space.dtype

    @property
    def T(self) -> Self:
        """The operator itself, which is symmetric."""
        return self

    @property
    def identity(self) -> Self:
        """The identity on the same vectors, to damp with: `G + 0.1 * G.identity`."""
        return replace(self, terms=(), shift=1.0, _factors={})

    @property
    def positive(self) -> bool:
        """Whether it is known to be positive semidefinite by the way it was made."""
        return self.shift >= 0 and all(s >= 0 and p.positive for s, p in self.terms)

    @property
    def constant(self) -> bool:
        """Whether it is the same at all parameters, like the Hessian of a quadratic function."""
        return all(p.constant for _, p in self.terms)

    def __repr__(self) -> str:
        names = [f"{'' if s == 1 else f'{s:g} '}{p.along.__name__}" for s, p in self.terms]
        names += [f"{self.shift:g} identity"] if self.shift or not names else []
        return f"{type(self).__name__}({self.shape[0]} x {self.shape[1]}: {' + '.join(names)})"

    def __add__(self, other: Self) -> Self:
        if not isinstance(other, SymmetricOperator):
            return NotImplemented
        if other.space != self.space:
            raise ArgumentError(
                f"operators over different parameters, of dimensions {self.shape[0]} and "
                f"{other.shape[0]}, cannot be added",
                fix="make both from parameters with one structure, shapes and dtypes",
            )
        terms, shift = self.terms + other.terms, self.shift + other.shift
        return replace(self, terms=terms, shift=shift, _factors={})

    def __mul__(self, factor: float) -> Self:
        if not isinstance(factor, numbers.Real | np.ndarray | jax.Array) or np.ndim(factor):
            return NotImplemented
        scale = float(factor)
        terms = tuple((scale * s, p) for s, p in self.terms)
        return replace(self, terms=terms, shift=scale * self.shift, _factors={})

    __rmul__ = __mul__

    def __neg__(self) -> Self:
        return self * -1.0

    def __sub__(self, other: Self) -> Self:
        return self + -other if isinstance(other, SymmetricOperator) else NotImplemented

    def __truediv__(self, divisor: float) -> Self:
        return self * (1 / divisor)

    def damped(self, damping: float) -> Self:
        """The operator with this multiple of the identity added."""
        return replace(self, shift=self.shift + float(damping), _factors={})

    def __matmul__(self, vector: Any) -> Any:
        """The product with a vector, or with several at once.

        Raises:
            ArgumentError: the vector is neither a tree like the parameters nor flat; the message
                names the leaf.
            ArgumentValueError: what comes out is not finite; the message says where.
        """
        form = self.space.form(vector)
        if form in (FLAT, MATRIX):
            vector = jnp.asarray(vector, self.dtype)
        else:
            vector = self.space.cast(vector)
        multiply = {
            TREE: Product.one,
            TREES: Product.several,
            FLAT: Product.flat,
            MATRIX: Product.columns,
        }[form]
        parts = [(s, multiply(p, vector)) for s, p in self.terms]
        if self.shift or not parts:
            parts.append((self.shift, vector))

        def total(*leaves: Any) -> Any:
            terms = [x if s == 1 else s * x for (s, _), x in zip(parts, leaves, strict=True)]
            return sum(terms[1:], terms[0])

        return jax.tree.map(total, *(x for _, x in parts))

    def matvec(self, vector: Any) -> Any:
        """The product with one vector, flat or a tree; `self @ vector`."""
        return self @ vector

    def matmat(self, vectors: Any) -> Any:
        """The products with several vectors in one batched program; `self @ vectors`."""
        return self @ vectors

    def _apply(self, vector: np.ndarray) -> np.ndarray:
        """The product for iterations on the host, in their precision."""
        return np.asarray(self @ vector, np.float64)

    def source(self) -> str:
        """The programs that multiply one vector by each term, as Python."""
        return "\n\n".join(p.along.source(*p.example) for _, p in self.terms)

    def explain(self) -> tuple[Report, ...]:
        """What became of each term's program, and which order of differentiating it takes."""
        return tuple(p.along.explain(*p.example) for _, p in self.terms)

    def dense(self, max_bytes: int = 2**31) -> jax.Array:
        """The matrix, shape (n, n).

        The matrix of a Hessian is that of `sg.hessian`; others are products with unit vectors,
        many at once.

        Raises:
            OutputError: it has more than `max_bytes` bytes; nothing is allocated.
        """
        size = self.shape[0]
        needed = size * size * jnp.dtype(self.dtype).itemsize
        if needed > max_bytes:
            raise OutputError(
                f"the matrix of {size} x {size} has {needed:,} bytes, more than "
                f"max_bytes={max_bytes:,}",
                fix="use products (@), .eigsh, .solve, .trace or .spectrum, which never form it",
            )
        total = self.shift * jnp.eye(size, dtype=self.dtype)
        for scale, product in self.terms:
            if product.hessian and product.batches is None:
                matrix = structure.matrix(product)
            else:
                matrix = jnp.asarray(estimates.dense(product.columns, size, self.dtype))
            total = total + scale * matrix
        return total

    @property
    def _noise(self) -> float:
        """The relative error that a product may have by rounding."""
        return 16 * max(float(jnp.finfo(dtype).eps) for dtype in self.space.dtypes)

    def to_scipy(self) -> Any:
        """As a `scipy.sparse.linalg.LinearOperator` on flat arrays.

        Raises:
            MissingLibraryError: scipy is not installed.
        """
        sparse = library("scipy.sparse.linalg", "a scipy operator")
        apply = lambda v: np.asarray(self @ np.ravel(v))  # noqa: E731
        return sparse.LinearOperator(
            self.shape,
            matvec=apply,
            rmatvec=apply,
            matmat=lambda m: np.asarray(self @ m),
            rmatmat=lambda m: np.asarray(self @ m),
            dtype=np.dtype(self.dtype),
        )

    def to_lineax(self) -> Any:
        """As a `lineax.FunctionLinearOperator` on trees like the parameters.

        It is tagged symmetric, and positive semidefinite where the operator is known to be.

        Raises:
            MissingLibraryError: lineax is not installed.
            ArgumentError: the data comes in batches, which a trace cannot hold.
        """
        lineax = library("lineax", "a lineax operator")
        if any(p.batches is not None for _, p in self.terms):
            raise ArgumentError(
                "an operator over batches of data cannot become part of a JAX program",
                fix="pass the data after the parameters, or use .to_scipy()",
            )
        tags = [lineax.symmetric_tag]
        if self.positive:
            tags.append(lineax.positive_semidefinite_tag)
        shapes = [
            jax.ShapeDtypeStruct(s, d)
            for s, d in zip(self.space.shapes, self.space.dtypes, strict=True)
        ]
        structs = jax.tree.unflatten(self.space.tree, shapes)
        return lineax.FunctionLinearOperator(self.__matmul__, structs, tags)


@remembered
def summed(programs: Sequence[Any], space: Space) -> Callable[..., Any]:
    """The sum of flat products, as a function of all that they depend on."""
    flat = [flattened(program, space) for program in programs]

    def apply(vector: Any, scales: Any, arguments: Any) -> Any:
        total = scales[0].astype(vector.dtype) * vector
        for product, scale, (params, data) in zip(flat, scales[1:], arguments, strict=True):
            total = total + scale.astype(vector.dtype) * product(vector, params, *data)
        return total

    return apply
