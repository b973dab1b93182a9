"""Linear algebra and Fourier transforms: values, both modes and second order are those of JAX."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
import pytest
from jax import lax
from jax.lax import linalg
from together import Jax, Problem, agree, attempt, compiled_together, differentiable, generator

import symgrad as sg
from symgrad import ops
from symgrad.expr import Op
from symgrad.plan.solvers import factorised
from symgrad.walk import Graph, topological

Shape = tuple[int, ...]


def plain(draws: np.random.Generator, shape: Shape) -> np.ndarray:
    return draws.normal(size=shape)


def regular(draws: np.random.Generator, shape: Shape) -> np.ndarray:
    """Well-conditioned, with eigenvalues and singular values apart."""
    rank = min(shape[-2:])
    diagonal = np.zeros(shape)
    diagonal[..., range(rank), range(rank)] = 2 + 1.5 * np.arange(rank)
    return diagonal + 0.3 * draws.normal(size=shape)


def definite(draws: np.random.Generator, shape: Shape) -> np.ndarray:
    """Symmetric and positive definite."""
    x = regular(draws, shape)
    return x @ np.swapaxes(x, -1, -2) / 4


@dataclass(frozen=True)
class Case:
    """A function of matrices, how they are drawn, and whether they are complex too."""

    name: str
    fun: Callable[..., Any]
    operands: tuple[tuple[Callable[..., np.ndarray], Shape], ...]
    complex: bool = False

    def args(self, dtype: Any) -> tuple[np.ndarray, ...]:
        draws = generator((self.name, np.dtype(dtype).name))
        found = []
        for domain, shape in self.operands:
            values = domain(draws, shape)
            if np.issubdtype(dtype, np.complexfloating) and domain is definite:
                skew = 0.2 * draws.normal(size=shape)
                values = values + 1j * (skew - np.swapaxes(skew, -1, -2))
            elif np.issubdtype(dtype, np.complexfloating):
                values = values + 0.3j * draws.normal(size=shape)
            found.append(values.astype(dtype))
        return tuple(found)


def case(name: str, fun: Callable[..., Any], *operands: Any, also_complex: bool = False) -> Case:
    return Case(name, fun, operands, also_complex)


both = partial(case, also_complex=True)
SQUARE, TALL, WIDE, BATCH = (3, 3), (4, 2), (2, 4), (2, 3, 3)


def _triangular(**options: Any) -> Callable[..., Any]:
    return lambda a, b: linalg.triangular_solve(a, b, **options)


def _spectrum(a: Any) -> Any:
    """Eigenvectors up to what fixes their signs and phases."""
    w, v = jnp.linalg.eigh(a)
    return w, jnp.abs(v) ** 2


def _planes(a: Any) -> Any:
    u, s, vh = jnp.linalg.svd(a, full_matrices=False)
    return jnp.einsum("...ij,...j,...jk->...ik", u, jnp.sin(s), vh), s


def _lu(a: Any) -> Any:
    """JAX itself cannot push forward a tangent that is an array of NumPy."""
    return linalg.lu(2 * a)


FACTORS = (
    both("cholesky", jnp.linalg.cholesky, (definite, SQUARE)),
    case("cholesky of a batch", jnp.linalg.cholesky, (definite, BATCH)),
    case("one triangle", partial(linalg.cholesky, symmetrize_input=False), (definite, SQUARE)),
    both("lu", _lu, (plain, SQUARE)),
    case("lu of a tall batch", _lu, (plain, (2, *TALL))),
    case("wide lu", _lu, (plain, WIDE)),
    case("pivots", lambda x: linalg.lu_pivots_to_permutation(linalg.lu(x)[1], 4), (plain, TALL)),
    both("qr", jnp.linalg.qr, (regular, TALL)),
    case("wide qr of a batch", jnp.linalg.qr, (regular, (2, *WIDE))),
    both("complete qr", partial(jnp.linalg.qr, mode="complete"), (plain, TALL)),
    case("qr with pivots", partial(jsp.linalg.qr, pivoting=True, mode="economic"), (plain, TALL)),
)
SPECTRA = (
    both("eigh", _spectrum, (definite, SQUARE)),
    case("eigenvectors of a batch", jnp.linalg.eigh, (definite, BATCH)),
    case("eigenvalues", partial(jnp.linalg.eigvalsh, UPLO="U"), (definite, SQUARE)),
    both("eig", partial(linalg.eig, enable_eigvec_derivs=True), (regular, SQUARE)),
    case("svd", partial(jnp.linalg.svd, full_matrices=False), (regular, TALL)),
    both("planes", _planes, (regular, SQUARE)),
    case("wide svd of a batch", _planes, (regular, (2, *WIDE))),
    case("singular values", jnp.linalg.svdvals, (regular, TALL)),
    case("square svd", jnp.linalg.svd, (regular, SQUARE)),
)
TRIANGLES = (
    both("left", _triangular(left_side=True, lower=True), (regular, SQUARE), (plain, (3, 2))),
    both("transposed", _triangular(transpose_a=True), (regular, SQUARE), (plain, (2, 3))),
    both(
        "conjugate",
        _triangular(left_side=True, transpose_a=True, conjugate_a=True),
        (regular, SQUARE),
        (plain, (3, 2)),
    ),
    case(
        "unit diagonal",
        _triangular(left_side=True, lower=True, transpose_a=True, unit_diagonal=True),
        (regular, BATCH),
        (plain, (2, 3, 2)),
    ),
    case("conjugate alone", _triangular(conjugate_a=True), (regular, SQUARE), (plain, (2, 3))),
    both(
        "tridiagonal",
        linalg.tridiagonal_solve,
        *[(plain, (2, 4)), (lambda d, s: 5 + plain(d, s), (2, 4)), (plain, (2, 4))],
        (plain, (2, 4, 3)),
    ),
)
FUNCTIONS = (
    case("det", jnp.linalg.det, (plain, (4, 4))),
    both("slogdet", jnp.linalg.slogdet, (regular, SQUARE)),
    both("inv", jnp.linalg.inv, (regular, SQUARE)),
    both("solve", jnp.linalg.solve, (regular, SQUARE), (plain, (3, 2))),
    case("solve for a batch", jnp.linalg.solve, (regular, BATCH), (plain, (2, 3, 1))),
    case("lstsq", lambda a, b: jnp.linalg.lstsq(a, b)[:2], (regular, TALL), (plain, (4, 2))),
    case("pinv", jnp.linalg.pinv, (regular, TALL)),
    case("cond", jnp.linalg.cond, (regular, SQUARE)),
    case("power", partial(jnp.linalg.matrix_power, n=-3), (regular, SQUARE)),
    *(
        case(f"norm {o}", partial(jnp.linalg.norm, ord=o), (regular, SQUARE))
        for o in ("fro", "nuc", 1, 2, -2, np.inf)
    ),
    case(
        "several products",
        lambda *xs: jnp.linalg.multi_dot(xs),
        *[(plain, (2, 3)), (plain, SQUARE), (plain, (3, 2))],
    ),
)
SCIPY = (
    case(
        "cho_solve",
        lambda a, b: jsp.linalg.cho_solve(jsp.linalg.cho_factor(a), b),
        *[(definite, SQUARE), (plain, (3, 2))],
    ),
    case(
        "lu_solve",
        lambda a, b: jsp.linalg.lu_solve(jsp.linalg.lu_factor(a), b, trans=1),
        *[(plain, SQUARE), (plain, (3,))],
    ),
    case("lu with p", jsp.linalg.lu, (plain, SQUARE)),
    case(
        "positive solve",
        partial(jsp.linalg.solve, assume_a="pos"),
        *[(definite, SQUARE), (plain, (3, 2))],
    ),
    case("block_diag", jsp.linalg.block_diag, (plain, SQUARE), (plain, (1, 2))),
    case("polar", lambda a: jsp.linalg.polar(a, method="svd"), (regular, SQUARE)),
    case("toeplitz", lambda c: jsp.linalg.toeplitz(c) @ c, (plain, (3,))),
    case("fftconvolve", jsp.signal.fftconvolve, (plain, (3, 2)), (plain, (2, 2))),
    case("convolve", partial(jsp.signal.convolve2d, mode="same"), (plain, (3, 4)), (plain, (2, 2))),
    case("dct", partial(jsp.fft.dct, norm="ortho"), (plain, (2, 5))),
    case("stft", lambda x: jsp.signal.stft(x, nperseg=4)[2], (plain, (11,))),
)
TRANSFORMS = (
    *(both(f"fft {n}", jnp.fft.fft, (plain, (2, n))) for n in (1, 4, 5)),
    both("ifft", jnp.fft.ifft, (plain, (3, 4))),
    *(case(f"rfft {n}", jnp.fft.rfft, (plain, (2, n))) for n in (1, 4, 5)),
    *(both(f"irfft {n}", partial(jnp.fft.irfft, n=n), (plain, (2, 3))) for n in (1, 4, 5)),
    both("fftn", jnp.fft.fftn, (plain, (2, 3, 4))),
    case("rfftn", partial(jnp.fft.rfftn, axes=(0, 2)), (plain, (3, 2, 4))),
    both("irfftn", partial(jnp.fft.irfftn, s=(3, 5)), (plain, (3, 3))),
    both("hfft", jnp.fft.hfft, (plain, (4,))),
    case("ihfft", jnp.fft.ihfft, (plain, (5,))),
    both("shifted", lambda x: jnp.fft.fftshift(jnp.fft.fft2(x)), (plain, (3, 4))),
)
EMPTY = (
    case("empty cholesky", jnp.linalg.cholesky, (plain, (0, 0))),
    case("empty solve", jnp.linalg.solve, (plain, (0, 0)), (plain, (0, 2))),
    case("no systems", jnp.linalg.solve, (plain, (0, 3, 3)), (plain, (0, 3, 2))),
    case("empty svd", partial(jnp.linalg.svd, full_matrices=False), (plain, (0, 2))),
    case("empty qr", jnp.linalg.qr, (plain, (2, 0))),
    case("empty eigh", jnp.linalg.eigh, (plain, (0, 0))),
    case("empty lu", _lu, (plain, (0, 2))),
    case("one by one", jnp.linalg.inv, (regular, (1, 1))),
    case("cholesky of one", jnp.linalg.cholesky, (definite, (1, 1))),
    case("svd of one", _planes, (regular, (1, 1))),
    case("eigh of one", jnp.linalg.eigh, (definite, (1, 1))),
    case("det of one", jnp.linalg.det, (regular, (1, 1))),
)


def _products() -> list[Case]:
    """`dot_general` with every parameter it has."""
    numbers = (((2, 0), (0, 2)), ((1,), (1,)))
    product = partial(lax.dot_general, dimension_numbers=numbers)
    operands = (plain, (2, 3, 4)), (plain, (4, 3, 2))
    precisions = {
        "highest": "highest",
        "pair": (lax.Precision.DEFAULT, lax.Precision.HIGHEST),
        "preset": lax.DotAlgorithmPreset.F64_F64_F64,
    }
    return [
        both("batched", product, *operands),
        *(case(n, partial(product, precision=p), *operands) for n, p in precisions.items()),
        case(
            "wider",
            lambda x, y: product(x.astype(np.float32), y, preferred_element_type=np.float64),
            *operands,
        ),
    ]


GROUPS = {
    "factors": FACTORS,
    "spectra": SPECTRA,
    "triangles": TRIANGLES,
    "functions": FUNCTIONS,
    "scipy": SCIPY,
    "transforms": TRANSFORMS,
    "empty": EMPTY,
    "products": tuple(_products()),
}


def compare(cases: Sequence[Case], dtype: Any, tolerance: float, subtests: Any, *what: str) -> None:
    """Everything `Problem.account` lists, or only `what`, in one compilation."""
    problems = [Problem(c.fun, c.args(dtype), generator(c.name)) for c in cases]

    def everything(operands: list[Any]) -> list[Any]:
        return [
            [
                {n: attempt(f) for n, f in p.account(by, *args).items() if not what or n in what}
                for by in (sg, Jax)
            ]
            for p, args in zip(problems, operands, strict=True)
        ]

    found = compiled_together(everything, [p.args for p in problems])
    for problem, (ours, theirs) in zip(cases, found, strict=True):
        for name, value in ours.items():
            with subtests.test(case=problem.name, what=name):
                if isinstance(value, Exception):
                    raise value
                agree(value, theirs[name], tolerance, scale=1.0)


@pytest.mark.parametrize("group", GROUPS)
def test_real_matrices(group, float64, subtests):
    first_order = ("value", "jvp", "vjp") if GROUPS[group] is EMPTY else ()
    compare(GROUPS[group], np.float64, 1e-9, subtests, *first_order)


@pytest.mark.parametrize("group", [n for n, g in GROUPS.items() if any(c.complex for c in g)])
def test_complex_matrices(group, float64, subtests):
    members = [c for c in GROUPS[group] if c.complex]
    compare(members, np.complex128, 1e-9, subtests)


def test_single_precision(float32, subtests):
    """Real and complex, to first order: the same programs in other dtypes."""
    groups = FACTORS, SPECTRA, TRIANGLES, TRANSFORMS
    members = [c for group in groups for c in group if c.complex]
    compare(members, np.complex64, 1e-4, subtests, "value", "vjp")
    compare(members, np.float32, 1e-4, subtests, "value", "vjp")


def test_batched_by_vmap(float64, subtests):
    members = [c for c in (*FACTORS, *SPECTRA, *TRIANGLES, *FUNCTIONS) if c.complex]
    problems = [Problem(c.fun, c.args(np.float64), generator(c.name)) for c in members]

    def rows(problem: Problem, by: Any, *args: Any) -> Any:
        def each(*args: Any) -> Any:
            value, pull = by.vjp(problem.fun, *args)
            return value, differentiable(pull(problem.bars))

        return jax.vmap(each)(*args)

    def everything(operands: list[Any]) -> list[Any]:
        return [
            attempt(lambda p=p, args=args: [rows(p, by, *args) for by in (sg, Jax)])
            for p, args in zip(problems, operands, strict=True)
        ]

    stacked = [tuple(np.stack([a, 1.1 * a]) for a in p.args) for p in problems]
    found = compiled_together(everything, stacked)
    for member, result in zip(members, found, strict=True):
        with subtests.test(case=member.name):
            if isinstance(result, Exception):
                raise result
            agree(*result, 1e-9)


# What programs consist of


def operations(graph: Graph) -> list[Op]:
    """The operations of a graph and of the graphs they hold, once for each node."""
    found = []
    for node in topological(graph.outputs):
        found.append(node.op)
        for local in node.op.functions(node) if node.op.functions else ():
            found += operations(local.graph)
    return found


FAMILIES = {"fft", "inverse", "linalg", "matrix", "ragged", "solve"}
UNDIFFERENTIATED = {
    "schur": (jsp.linalg.schur, SQUARE),
    "hessenberg": (linalg.hessenberg, SQUARE),
    "tridiagonal": (linalg.tridiagonal, SQUARE),
    "reflectors": (partial(jnp.linalg.qr, mode="raw"), TALL),
    "multiplied": (lambda x: jsp.linalg.qr_multiply(x, jnp.ones((2, 4)), mode="right"), TALL),
    "product": (lambda x: linalg.householder_product(x, x[0]), TALL),
    "schur vectors": (lambda x: linalg.schur(x, compute_schur_vectors=False), SQUARE),
    "eigenvectors": (jnp.linalg.eig, SQUARE),
    "full svd": (jnp.linalg.svd, TALL),
}


@pytest.mark.parametrize("name", UNDIFFERENTIATED)
def test_what_jax_does_not_differentiate_has_its_value_and_an_error(name, float64):
    fun, shape = UNDIFFERENTIATED[name]
    x = regular(generator(name), shape)
    agree(sg.jit(fun)(x), jax.jit(fun)(x), 1e-12)
    assert not sg.jit(fun).explain(x).opaque
    loss = lambda x: sum(jnp.sum(jnp.abs(y)) for y in jax.tree.leaves(fun(x)))  # noqa: E731
    for by in (sg, jax):
        with pytest.raises(NotImplementedError):
            by.grad(loss)(x)


def test_every_operation_of_these_families_occurs(float64):
    found = set()
    for member in (c for group in GROUPS.values() for c in group):
        args = member.args(np.float64)
        graph = sg.trace(member.fun, *args)
        found |= set(operations(graph))
        if member.name in ("eigh", "wide lu"):
            loss = lambda *args, fun=member.fun: jnp.sum(fun(*args)[0])  # noqa: E731
            found |= set(operations(sg.grad(loss).graph(*args)))
    for fun, shape in UNDIFFERENTIATED.values():
        found |= set(operations(sg.trace(fun, np.ones(shape))))
    for fun, args in ((RAGGED, (np.ones((3, 2)), np.ones((2, 2, 4)))), (_updated, (np.eye(3),))):
        found |= set(operations(sg.trace(fun, *args)))
    twice = sg.trace(_asked_twice, np.eye(3), np.ones(3))
    found |= set(operations(twice.simplify())) | set(operations(factorised(twice)))
    names = {m.name for m in pkgutil.iter_modules(ops.__path__)}
    own = defined_in(FAMILIES) - defined_in(names - FAMILIES)
    assert own - found == set()


def _asked_twice(a: Any, b: Any) -> Any:
    """Of one matrix two questions, of another that is definite one, of a third by its factor."""
    z = jsp.linalg.solve_triangular(jnp.linalg.cholesky(3 * a + 3 * a.T), b, lower=True)
    return (
        z @ z,
        jnp.linalg.solve(a, b),
        jnp.linalg.inv(a),
        jsp.linalg.solve(2 * a, b, assume_a="pos"),
    )


def defined_in(families: Iterable[str]) -> set[Op]:
    """The operations that these modules define or import."""
    modules = [importlib.import_module(f"symgrad.ops.{name}") for name in families]
    return {op for m in modules for op in vars(m).values() if isinstance(op, Op)}


ONE_FACTOR = {
    "cholesky": (lambda a: jnp.sum(jnp.linalg.cholesky(a) ** 2), definite),
    "lu": (lambda a: jnp.sum(linalg.lu(a)[0] ** 2), regular),
    "qr": (lambda a: jnp.sum(jnp.sin(jnp.linalg.qr(a)[0])), regular),
    "eigh": (lambda a: jnp.sum(jnp.linalg.eigvalsh(a) ** 3), definite),
    "svd": (lambda a: jnp.sum(jnp.linalg.svdvals(a)), regular),
    "eig": (lambda a: jnp.sum(jnp.abs(jnp.linalg.eigvals(a))), regular),
}


@pytest.mark.parametrize("name", ONE_FACTOR)
def test_derivatives_share_the_factor_of_the_forward_pass(name, float64):
    fun, domain = ONE_FACTOR[name]
    x = domain(generator(name), (4, 4))
    names = [op.name for op in operations(sg.value_and_grad(fun).graph(x))]
    assert names.count(name) == 1
    agree(sg.value_and_grad(fun)(x), jax.value_and_grad(fun)(x), 1e-10)


def test_pivots_of_a_wide_matrix_move_all_columns(float64):
    """JAX forgets to exchange the columns behind the square part."""
    a, t = (plain(generator(name), (2, 4)) for name in ("wide", "along"))
    q, r, order = linalg.qr(a, pivoting=True)
    assert not np.array_equal(order, np.arange(4))
    pivoted = lambda a: linalg.qr(a, pivoting=True)[:2]  # noqa: E731
    exchanged = lambda a: linalg.qr(a[:, order])  # noqa: E731
    agree(
        sg.jvp(pivoted, (a,), (t,)), jax.jvp(exchanged, (jnp.asarray(a),), (jnp.asarray(t),)), 1e-10
    )
    agree(sg.vjp(pivoted, a)[1]((q, r)), jax.vjp(exchanged, a)[1]((q, r)), 1e-10)


def test_a_solution_and_its_derivative_share_one_factorisation(float64):
    a, b = regular(generator("a"), (3, 3)), np.ones((3, 2))
    loss = lambda a, b: jnp.sum(jnp.linalg.solve(a, b) ** 2)  # noqa: E731
    text = sg.value_and_grad(loss, (0, 1)).source(a, b)
    assert (text.count("lu_factor("), text.count("lu_solve(")) == (1, 2)
    twice = sg.grad(lambda a: jnp.sum(sg.grad(loss)(a, b)))
    agree(jax.grad(lambda a: jnp.sum(sg.grad(loss)(a, b)))(a), twice(a), 1e-10)


def test_the_gradient_of_the_sum_of_singular_values_is_the_polar_factor(float64):
    x = regular(generator("nuclear"), (4, 3))
    slope = sg.grad(lambda x: jnp.sum(jnp.linalg.svdvals(x)))
    names = {op.name for op in operations(slope.graph(x))}
    assert names <= {"argument", "svd", "item", "einsum", "polar_factor"}
    agree(slope(x), jsp.linalg.polar(x, method="svd")[0], 1e-12)


def _updated(r: Any) -> Any:
    return linalg.cholesky_update(r, r[0])


def test_an_updated_factor_has_the_derivative_of_the_factor_of_the_sum(float64):
    """JAX does not differentiate it; what it computes can be computed from the sum."""
    r = np.triu(regular(generator("update"), (3, 3)))
    w = np.array([0.3, -0.5, 0.7])
    tangents = np.triu(plain(generator("r"), (3, 3))), plain(generator("w"), (3,))
    whole = lambda r, w: jnp.linalg.cholesky(r.T @ r + jnp.outer(w, w)).T  # noqa: E731
    agree(sg.jvp(linalg.cholesky_update, (r, w), tangents), jax.jvp(whole, (r, w), tangents), 1e-10)
    slope = sg.grad(lambda *args: jnp.sum(linalg.cholesky_update(*args) ** 3), (0, 1))(r, w)
    wanted = jax.grad(lambda *args: jnp.sum(whole(*args) ** 3), (0, 1))(r, w)
    agree((jnp.triu(slope[0]), slope[1]), (jnp.triu(wanted[0]), wanted[1]), 1e-10)


def test_a_symmetric_product_has_a_derivative(float64):
    a, c = np.arange(6.0).reshape(3, 2), np.eye(3)
    product = partial(linalg.symmetric_product, alpha=2.0, beta=0.5)
    whole = lambda a, c: 2.0 * a @ a.T + 0.5 * c  # noqa: E731
    for fun in (lambda a, c: jnp.sum(jnp.sin(product(a, c))), product):
        agree(sg.jit(fun)(a, c), jax.jit(fun)(a, c), 1e-12)
    agree(sg.jvp(product, (a, c), (a, c)), jax.jvp(whole, (a, c), (a, c)), 1e-12)


# Groups of matrices


def RAGGED(x: Any, y: Any) -> Any:
    return lax.ragged_dot(x, y, jnp.array([1, 2]))


def test_ragged_products_to_first_order(float64):
    """JAX has no second derivative, and none at all of sums over groups."""
    x, y = plain(generator("x"), (3, 2)), plain(generator("y"), (2, 2, 4))
    problem = Problem(RAGGED, (x, y), generator("ragged"))
    for what in ("value", "jvp", "vjp", "hvp"):
        ours, theirs = (problem.account(by, x, y)[what]() for by in (sg, Jax))
        agree(ours, theirs, 1e-12)
    numbers = lax.RaggedDotDimensionNumbers((((0,), (0,)), ((), ())), [0], [])
    sums = lambda x: jnp.sum(lax.ragged_dot_general(x, x, jnp.array([1, 2]), numbers))  # noqa: E731
    agree(sg.jvp(sums, (x,), (x,)), jax.jvp(sums, (x,), (x,)), 1e-12)
    for by in (sg, jax):
        with pytest.raises(NotImplementedError):
            by.grad(sums)(x)


# Linear equations given by functions


def _solver(**options: Any) -> Callable[..., Any]:
    """Damped iterations that nobody can transpose: all that counts is the rule."""

    def iterate(matvec: Callable[..., Any], b: Any) -> Any:
        def step(carry: Any) -> Any:
            n, x = carry
            return n + 1, jax.tree.map(lambda x, b, y: x + 0.2 * (b - y), x, b, matvec(x))

        x = lax.while_loop(lambda carry: carry[0] < 200, step, (0, b))[1]
        return (x, jnp.zeros(())) if options.get("has_aux") else x

    options = {"transpose_solve": iterate, **options}

    def solve(a: Any, b: Any) -> Any:
        def matvec(x: Any) -> Any:
            return {"first": a @ x["first"] + x["second"], "second": 4.0 * x["second"]}

        tree = {"first": b, "second": jnp.sin(b[0])}
        return lax.custom_linear_solve(matvec, tree, iterate, **options)

    return solve


EQUATIONS = {
    "general": _solver(),
    "with more results": _solver(has_aux=True),
}


def test_solvers_given_by_the_user(float64, subtests):
    a, b = regular(generator("operator"), (2, 2)) / 1.2, plain(generator("b"), (2,))
    members = [case(n, f, (plain, (1,))) for n, f in EQUATIONS.items()]
    problems = [Problem(f, (a, b), generator(n)) for n, f in EQUATIONS.items()]

    def everything(operands: list[Any]) -> list[Any]:
        return [
            [{n: attempt(f) for n, f in p.account(by, *operands).items()} for by in (sg, Jax)]
            for p in problems
        ]

    for member, (ours, theirs) in zip(members, compiled_together(everything, [a, b]), strict=True):
        # The Hessian is symmetric, and JAX fails to take it this way round.
        theirs["grad of grad"] = theirs["hvp"]
        for name, value in ours.items():
            with subtests.test(case=member.name, what=name):
                if isinstance(value, Exception):
                    raise value
                agree(value, theirs[name], 1e-8)


def test_a_solver_without_a_transpose_has_a_forward_mode_only(float64):
    solve = lambda a, b: lax.custom_linear_solve(  # noqa: E731
        lambda x: a * x, b, lambda matvec, b: b / matvec(jnp.ones(2))
    )
    args = np.array([2.0, 3.0]), np.array([1.0, -1.0])
    agree(sg.jvp(solve, args, args), jax.jvp(solve, args, args), 1e-12, scale=1.0)
    for by in (sg, jax):
        with pytest.raises(TypeError, match="transpose_solve"):
            by.grad(lambda *args: jnp.sum(solve(*args)))(*args)


def test_jax_differentiates_programs_that_solve_by_iteration(float64):
    """Their text keeps the linear solve, whose loop JAX could not transpose."""
    solve = EQUATIONS["general"]
    a, b = regular(generator("operator"), (2, 2)) / 1.2, np.ones(2)
    loss = lambda b: sum(jnp.sum(jnp.cos(x)) for x in solve(a, b).values())  # noqa: E731
    slope = sg.grad(loss)
    assert "lax.custom_linear_solve" in slope.source(b)
    ours = jax.grad(lambda b: jnp.sum(slope(b) ** 2))(b)
    agree(ours, jax.grad(lambda b: jnp.sum(jax.grad(loss)(b) ** 2))(b), 1e-8)
