"""Products with Hessians in every order, and the operators and estimates made of them."""

from __future__ import annotations

import dataclasses
import importlib
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from scipy.optimize import minimize

import symgrad as sg
from symgrad.cli import main

KEY = jax.random.key(0)


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    numbers = np.random.default_rng([seed, *shape]).normal(size=shape)
    return (scale * numbers).astype(np.float32)


# Programs


def outputs(p, x):
    return jnp.tanh(x @ p["hidden"]) @ p["out"] + p["bias"]


def cross_entropy(z, y):
    return jnp.mean(jax.nn.logsumexp(z, -1) - jnp.take_along_axis(z, y[:, None], -1)[:, 0])


def mlp(p, x, y):
    return cross_entropy(outputs(p, x), y)


def cnn(p, x):
    h = lax.conv(x, p["kernel"], (1, 1), "SAME")
    return jnp.mean(jnp.square(jax.nn.softplus(h).mean((2, 3)) @ p["out"]))


def rnn(p, xs):
    def step(h, x):
        h = jnp.tanh(p["w"] @ h + p["u"] @ x)
        return h, jnp.sum(h**2)

    return jnp.mean(lax.scan(step, jnp.zeros(p["w"].shape[0]), xs)[1])


def attention(p, x):
    q, k, v = (x @ p[name] for name in "qkv")
    weights = jax.nn.softmax(q @ k.T / jnp.sqrt(q.shape[-1]))
    return jnp.mean(jnp.tanh(weights @ v + x) ** 2)


MLP_PARAMS = {"hidden": normal(6, 8), "out": normal(8, 3), "bias": np.zeros(3, np.float32)}
MLP_DATA = (normal(30, 6), np.random.default_rng(0).integers(0, 3, 30))
PROGRAMS: dict[str, tuple[Any, Any, tuple[Any, ...]]] = {
    "mlp": (mlp, MLP_PARAMS, MLP_DATA),
    "cnn": (
        cnn,
        {"kernel": normal(4, 2, 3, 3, scale=0.3), "out": normal(4, 3)},
        (normal(5, 2, 8, 8),),
    ),
    "rnn": (rnn, {"w": normal(8, 8, scale=0.3), "u": normal(8, 3)}, (normal(12, 3),)),
    "attention": (
        attention,
        {n: normal(8, 8, seed=i, scale=0.5) for i, n in enumerate("qkv")},
        (normal(7, 8),),
    ),
}


def direction(tree: Any, seed: int = 1) -> Any:
    return jax.tree.map(lambda x: normal(*x.shape, seed=seed), tree)


@cache
def by_jax(f):
    return jax.jit(
        lambda p, v, *data: jax.jvp(lambda q: jax.grad(f)(q, *data), (p,), (v,)),
    )


def jax_product(f, p, v, data):
    return by_jax(f)(p, v, *data)[1]


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]).astype(float)


def error(found: Any, exact: Any) -> float:
    return float(np.linalg.norm(flat(found) - flat(exact)) / np.linalg.norm(flat(exact)))


@pytest.fixture(scope="module")
def H():
    return sg.hessian_operator(mlp, MLP_PARAMS, *MLP_DATA)


@pytest.fixture(scope="module")
def G():
    return sg.gauss_newton_operator(outputs, cross_entropy, MLP_PARAMS, *MLP_DATA)


@pytest.fixture(scope="module")
def dense(H):
    return np.asarray(H.dense(), float)


# Products


@pytest.mark.parametrize("name", PROGRAMS)
def test_products_are_those_of_jax_and_symmetric(name):
    f, p, data = PROGRAMS[name]
    u, v = direction(p, 1), direction(p, 2)
    product = sg.hvp(f)
    Hu, Hv = product(u, p, *data), product(v, p, *data)
    assert error(Hv, jax_product(f, p, v, data)) <= 1e-6
    asymmetry = abs(flat(u) @ flat(Hv) - flat(v) @ flat(Hu))
    assert asymmetry <= 1e-5 * np.linalg.norm(flat(u)) * np.linalg.norm(flat(Hv))


@pytest.mark.parametrize("name", PROGRAMS)
def test_value_gradient_and_product_are_one_program(name):
    f, p, data = PROGRAMS[name]
    v = direction(p)
    joint = sg.value_grad_hvp(f)
    value, slope, product = joint(v, p, *data)
    assert float(value) == pytest.approx(float(f(p, *data)), rel=1e-6)
    assert error(slope, by_jax(f)(p, v, *data)[0]) <= 1e-6
    assert error(product, jax_product(f, p, v, data)) <= 1e-6
    if name != "rnn":
        parts = (sg.value_and_grad(f).graph(p, *data), sg.hvp(f).graph(v, p, *data))
        assert len(joint.graph(v, p, *data)) < sum(map(len, parts))


def test_every_order_gives_the_same_and_the_report_says_which():
    f, p, data = PROGRAMS["attention"]
    v = direction(p)
    transformed = sg.hvp(f)
    choice = transformed.explain(v, p, *data).choice
    assert set(choice.prices) == set(transformed.ways)
    assert choice.why in str(transformed.explain(v, p, *data))
    for name, way in list(transformed.ways.items()):
        transformed.ways = {name: way}
        transformed._plans.clear()
        assert error(transformed(v, p, *data), jax_product(f, p, v, data)) <= 1e-6


def test_a_cheaper_order_is_taken():
    matrix = normal(40, 30)

    def narrow(x):
        return jnp.sum(jnp.tanh(matrix.T @ jnp.sin(x)))

    report = sg.hvp(narrow).explain(jnp.ones(40), jnp.ones(40))
    prices = report.choice.prices
    first = prices["forward over reverse"]
    assert (
        prices[report.choice.taken] == min(prices.values()) or min(prices.values()) > 0.95 * first
    )


def test_rules_of_the_users_are_differentiated_in_one_order():
    @jax.custom_vjp
    def clipped(x):
        return jnp.sum(x**3)

    clipped.defvjp(lambda x: (clipped(x), x), lambda x, g: (g * jnp.clip(3 * x**2, -5, 5),))
    x, v = jnp.array([1.0, 4.0]), jnp.ones(2)
    assert sg.hvp(clipped)(v, x).tolist() == [6.0, 0.0]
    assert sg.hvp(clipped).explain(v, x).choice is None


def test_several_arguments():
    f = lambda x, y, z: jnp.sum(x * y**2) * z  # noqa: E731
    x, y = jnp.array([1.0, 2.0]), jnp.array([3.0, -1.0])
    vx, vy = jnp.array([0.5, 1.0]), jnp.array([2.0, -2.0])
    for found in (sg.hvp(f, (0, 1))((vx, vy), x, y, 2.0), sg.hvp(f, [0, 1])((vx, vy), x, y, 2.0)):
        np.testing.assert_allclose(found[0], 4 * y * vy)
        np.testing.assert_allclose(found[1], 4 * y * vx + 4 * x * vy)
    np.testing.assert_allclose(sg.hvp(f, 1)(vy, x, y, 2.0), 4 * x * vy)


def test_many_vectors_are_one_batched_program():
    f, p, data = PROGRAMS["mlp"]
    vectors = jax.tree.map(lambda *x: jnp.stack(x), *(direction(p, i + 1) for i in range(5)))
    batch = sg.jit(jax.vmap(sg.hvp(f), in_axes=(0, None, None, None)))
    found = batch(vectors, p, *data)
    for i in range(5):
        one = jax.tree.map(lambda x, i=i: x[i], found)
        assert error(one, jax_product(f, p, direction(p, i + 1), data)) <= 1e-6
    assert "vmap" not in batch.source(vectors, p, *data)


# Operators


def test_vectors_of_every_form(H, dense):
    n = H.shape[0]
    v = direction(MLP_PARAMS)
    expected = dense @ flat(v)
    assert error(H @ v, expected) <= 1e-6
    assert error(H @ jnp.asarray(flat(v)), expected) <= 1e-6
    several = normal(n, 70)
    assert error(H @ several, dense @ several) <= 1e-6
    trees = H.space.unflat(jnp.asarray(several.T))
    assert error(H.space.flat(H @ trees), (dense @ several).T) <= 1e-6
    assert H.T is H
    assert np.asarray(H.matvec(several[:, 0])).shape == (n,)


def test_sums_multiples_and_damping(H, G, dense):
    v = normal(H.shape[0])
    total = np.float64(2) * H - G / 2 + 0.3 * H.identity
    assert error(total @ v, 2 * dense @ v - (G @ v) / 2 + 0.3 * v) <= 1e-6
    assert (
        error(total.dense(), 2 * dense - np.asarray(G.dense()) / 2 + 0.3 * np.eye(len(v))) <= 1e-6
    )
    assert error(H.damped(0.5) @ v, dense @ v + 0.5 * v) <= 1e-6
    assert (G + 0.1 * G.identity).positive and not H.positive and not (-G).positive


def test_gauss_newton_and_fisher(G):
    x, y = MLP_DATA
    jacobian = jax.jit(jax.jacobian(lambda p: outputs(p, x)))(MLP_PARAMS)
    rows = np.concatenate([np.reshape(b, (90, -1)) for b in jax.tree.leaves(jacobian)], axis=1)
    inner = jax.jit(jax.hessian(lambda z: cross_entropy(z, y)))(outputs(MLP_PARAMS, x))
    inner = inner.reshape(90, 90)
    assert error(G.dense(), rows.T @ inner @ rows) <= 2e-6

    def log_likelihood(p, x, y):
        return jnp.take_along_axis(jax.nn.log_softmax(outputs(p, x)), y[:, None], -1)[:, 0]

    F = sg.fisher_operator(log_likelihood, MLP_PARAMS, x, y)
    scores = jax.jit(jax.jacobian(lambda p: log_likelihood(p, x, y)))(MLP_PARAMS)
    rows = np.concatenate([np.reshape(b, (30, -1)) for b in jax.tree.leaves(scores)], axis=1)
    v = normal(75)
    assert error(F @ v, rows.T @ (rows @ v)) <= 2e-6
    parts = [(x[:10], y[:10]), (x[10:], y[10:])]
    batched = sg.fisher_operator(log_likelihood, MLP_PARAMS, batches=parts)
    assert error(batched @ v, F @ v) <= 1e-6


def test_operators_are_frozen_and_read(H):
    with pytest.raises(dataclasses.FrozenInstanceError):
        H.shift = 1.0
    assert "def hvp_mlp" in H.source()
    assert "forward over reverse" in str(H.explain()[0])
    assert repr(2 * H.damped(1)) == "CurvatureOperator(75 x 75: 2 hvp_mlp + 2 identity)"


@pytest.mark.parametrize("which", ["LA", "SA", "LM", "BE"])
def test_eigenvalues(H, dense, which):
    found = H.eigsh(4, which)
    values = np.linalg.eigvalsh(dense)
    magnitude = values[np.argsort(np.abs(values))]
    exact = {
        "LA": values[-4:],
        "SA": values[:4],
        "LM": np.sort(magnitude[-4:]),
        "BE": np.r_[values[:2], values[-2:]],
    }[which]
    np.testing.assert_allclose(found.values, exact, atol=1e-4 * np.max(np.abs(values)))
    assert found.converged and max(found.residuals) < 1e-5
    assert jax.tree.map(jnp.shape, found.trees) == {
        "hidden": (4, 6, 8),
        "out": (4, 8, 3),
        "bias": (4, 3),
    }
    assert float(H.norm()) == pytest.approx(np.max(np.abs(values)), rel=1e-5)


@pytest.mark.parametrize("method", ["hutch++", "hutchinson"])
def test_the_trace_is_within_two_standard_errors(H, dense, method):
    found = H.trace(KEY, samples=48, method=method)
    assert abs(float(found) - np.trace(dense)) <= 2 * found.standard_error
    exact = H.trace(KEY, samples=100)
    assert exact.method == "exact" and float(exact) == pytest.approx(np.trace(dense), rel=1e-5)


def test_the_spectrum_has_the_moments_of_the_eigenvalues(H, dense, tmp_path):
    values = np.linalg.eigvalsh(dense)
    found = H.spectrum(KEY, probes=30, order=40)
    for power in (1, 2, 3, 4):
        mean, deviation = found.mean(lambda x, power=power: x**power)
        assert abs(mean - np.mean(values**power)) <= 3 * deviation
    assert found.extremes == pytest.approx((values[0], values[-1]), abs=1e-4)
    grid, density = found.density()
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)
    found.plot(tmp_path / "density.png")
    assert (tmp_path / "density.png").stat().st_size > 1000
    exact = sg.hessian_operator(lambda x: jnp.sum(x**2), jnp.ones(40)).spectrum(KEY)
    assert exact.stop is sg.Stop.BREAKDOWN and exact.converged
    assert exact.mean(np.log)[0] == pytest.approx(np.log(2), abs=1e-6)


def test_the_logarithm_of_the_determinant(G):
    values = np.linalg.eigvalsh(np.asarray(G.dense(), float)) + 0.1
    found = G.damped(0.1).logdet(KEY, probes=30)
    assert abs(float(found) - np.sum(np.log(values))) <= 3 * found.standard_error
    with pytest.warns(sg.ConvergenceWarning, match=r"(?s)negative curvature met.*damp"):
        assert np.isnan(float((-G).logdet(KEY, probes=30)))


def test_diagonals(H, G, dense):
    found = H.diagonal()
    assert found.exact and error(found.flat, np.diag(dense)) <= 1e-6
    estimate = H.diagonal(KEY, samples=200, exact=False)
    assert not estimate.exact and "estimated" in repr(estimate)
    wide = np.abs(estimate.flat - np.diag(dense)) > 4 * estimate.standard_error + 1e-5
    assert wide.sum() <= 1
    both = (G + H.damped(1.0)).diagonal()
    assert both.exact
    assert error(both.flat, np.diag(dense) + np.diag(G.dense()) + 1) <= 1e-6
    large = sg.hessian_operator(lambda x: jnp.sum(jnp.exp(x)), jnp.zeros(20_000))
    assert large.diagonal().method == "structure"


# Solutions


@pytest.mark.parametrize("precondition", ["auto", "diagonal", "block", None])
def test_solutions_have_the_residual_they_claim(G, precondition):
    matrix, b = np.asarray(G.dense(), float), direction(MLP_PARAMS)
    found = G.solve(b, damping=0.1, tol=1e-5, precondition=precondition)
    true = np.linalg.norm(matrix @ flat(found.x) + 0.1 * flat(found.x) - flat(b))
    assert found.converged and found.residual <= 1e-5
    assert true <= 2e-5 * np.linalg.norm(flat(b))
    assert len(found.history) == found.iterations + 1
    assert found.history[-1] == pytest.approx(found.residual, rel=0.5, abs=1e-6)


def test_a_diagonal_solves_badly_scaled_equations():
    scales = jnp.logspace(-3, 3, 600)
    H = sg.hessian_operator(lambda x: jnp.sum(scales * jnp.cosh(x)), jnp.zeros(600))
    assert H.solve(jnp.ones(600), method="cg").iterations <= 2


def test_an_indefinite_operator_is_reported_and_solved_by_minres(dense):
    A = normal(60, 60)
    A = A + A.T
    H = sg.hessian_operator(
        lambda x: jnp.sum(jnp.cosh(x)) - x @ x / 2 + x @ A @ x / 2, jnp.zeros(60)
    )
    b = normal(60)
    with pytest.warns(sg.ConvergenceWarning, match=r"(?s)negative curvature met.*minres"):
        found = H.solve(b, method="cg")
    assert not found.converged and "NOT CONVERGED" in repr(found)
    assert found.stop is sg.Stop.NEGATIVE_CURVATURE
    found = H.solve(b, method="minres", tol=1e-4)
    assert found.converged and np.linalg.norm(A @ found.x - b) <= 2e-4 * np.linalg.norm(b)


def test_the_limit_is_never_silent(G):
    with pytest.warns(sg.ConvergenceWarning, match="iteration limit"):
        found = G.solve(normal(G.shape[0]), damping=1e-6, max_iterations=3)
    assert found.iterations == 3 and found.residual > found.tol


def test_a_quadratic_is_found_constant_and_factorised_once():
    A = normal(20, 20)
    A = A @ A.T + np.eye(20)
    Q = sg.hessian_operator(lambda x: x @ A @ x / 2 + jnp.sum(x), jnp.ones(20))
    assert (
        Q.constant
        and not sg.hessian_operator(rnn, *PROGRAMS["rnn"][1:][0:1], *PROGRAMS["rnn"][2]).constant
    )
    for seed in (1, 2):
        found = Q.solve(normal(20, seed=seed))
        assert found.method == "direct" and found.converged
    assert len(Q._factors) == 1


def test_a_singular_operator_has_no_solution_and_says_so():
    nothing = sg.hessian_operator(lambda x: jnp.sum(x), jnp.ones(40))
    assert nothing.eigsh(2).values.tolist() == [0, 0]
    for method in ("direct", "cg"):
        with pytest.warns(sg.ConvergenceWarning, match=r"(?s)breakdown.*singular"):
            assert nothing.solve(jnp.ones(40), method=method).stop is sg.Stop.BREAKDOWN
    assert nothing.damped(2.0).solve(jnp.ones(40)).x.tolist() == [0.5] * 40


def test_scipy_lineax_and_optimisers_take_it(H, G):
    linear = H.to_scipy()
    v = normal(H.shape[0])
    assert error(linear @ v, H @ v) <= 1e-6 and error(linear @ v[:, None], H @ v) <= 1e-6
    lineax = pytest.importorskip("lineax")
    operator = G.damped(0.1).to_lineax()
    assert lineax.is_symmetric(operator) and lineax.is_positive_semidefinite(operator)
    b = direction(MLP_PARAMS)
    found = lineax.linear_solve(operator, b, lineax.CG(rtol=1e-6, atol=1e-6)).value
    assert error(G.damped(0.1) @ found, b) <= 1e-4
    for method in ("trust-ncg", "Newton-CG"):
        f = sg.scipy_objective(mlp, MLP_PARAMS, *MLP_DATA)
        best = minimize(f, f.x0, jac=True, hessp=f.hessp, method=method, options={"maxiter": 15})
        assert best.fun < 0.2 * float(mlp(MLP_PARAMS, *MLP_DATA)) and best.x.dtype == np.float64
        assert float(mlp(f.tree(best.x), *MLP_DATA)) == pytest.approx(best.fun, rel=1e-5)


# Data in parts


def parts(*sizes: int) -> list[tuple[Any, ...]]:
    ends = np.cumsum(sizes)
    return [tuple(a[e - s : e] for a in MLP_DATA) for s, e in zip(sizes, ends, strict=True)]


def test_batches_add_up(H, dense):
    B = sg.hessian_operator(mlp, MLP_PARAMS, batches=parts(12, 12, 6), progress=True)
    v = direction(MLP_PARAMS)
    assert error(B @ v, H @ v) <= 1e-6
    assert error(B @ normal(75, 3), dense @ normal(75, 3)) <= 2e-6
    values = np.linalg.eigvalsh(dense)
    np.testing.assert_allclose(B.eigsh(2).values, values[-2:], rtol=1e-4)
    lanczos = B.spectrum(KEY, probes=1, order=20)
    assert lanczos.extremes == pytest.approx((values[0], values[-1]), rel=1e-3)
    f = sg.scipy_objective(mlp, MLP_PARAMS, batches=parts(12, 12, 6))
    value, slope = sg.value_and_grad(mlp)(MLP_PARAMS, *MLP_DATA)
    assert f(f.x0)[0] == pytest.approx(float(value), rel=1e-6)
    assert error(f(f.x0)[1], slope) <= 1e-6
    assert error(f.hessp(f.x0, flat(v)), H @ v) <= 1e-6


def test_sharded_data_stays_sharded():
    """Each of eight devices multiplies its own observations, and holds an eighth of the rest."""
    data = (normal(800, 6), np.random.default_rng(1).integers(0, 3, 800))
    mesh = jax.make_mesh((8,), ("i",))
    spread = [jax.device_put(a, NamedSharding(mesh, P("i"))) for a in data]
    v = direction(MLP_PARAMS)
    whole, divided = (sg.hessian_operator(mlp, MLP_PARAMS, *d) for d in (data, spread))
    assert error(divided @ v, whole @ v) <= 1e-6
    bytes_each = [
        sg.hvp(mlp).lower(v, MLP_PARAMS, *d).compile().memory_analysis().temp_size_in_bytes
        for d in (data, spread)
    ]
    assert bytes_each[1] <= 0.3 * bytes_each[0]


# Mistakes


def nan_loss(p, x, y):
    return mlp(p, x, y) + jnp.sum(jnp.log(p["bias"] - 1))


def poisoned() -> list[tuple[Any, ...]]:
    good, bad = parts(12, 12)
    return [good, (np.full_like(bad[0], np.nan), bad[1])]


MISTAKES = {
    "missing leaf": (lambda H: H @ {"hidden": 1.0, "out": 2.0}, r"`v\['bias'\]` is missing"),
    "shape of a leaf": (
        lambda H: H @ (direction(MLP_PARAMS) | {"out": np.ones((8, 4))}),
        r"leaf `v\['out'\]`.*\(8, 4\).*\(8, 3\)",
    ),
    "flat size": (lambda H: H @ np.ones(74), "structure"),
    "structure for hvp": (
        lambda H: sg.hvp(mlp)({"hidden": 1.0}, MLP_PARAMS, *MLP_DATA),
        r"`v\['bias'\]` is missing",
    ),
    "vector loss": (
        lambda H: sg.hessian_operator(lambda p, x: outputs(p, x), MLP_PARAMS, MLP_DATA[0]),
        "scalar",
    ),
    "complex parameters": (
        lambda H: sg.hessian_operator(lambda p: jnp.abs(p["z"]), {"z": 1j}),
        r"`params\['z'\]` is complex",
    ),
    "integer parameters": (
        lambda H: sg.hessian_operator(lambda p: 1.0 * p["n"], {"n": np.ones(2, int)}),
        r"`params\['n'\]` is int",
    ),
    "no parameters": (lambda H: sg.hessian_operator(lambda p: 1.0, {}), "no leaf"),
    "empty data": (
        lambda H: sg.hessian_operator(mlp, MLP_PARAMS, np.ones((0, 6)), np.ones(0, int)),
        r"data is empty: `data\[0\]`",
    ),
    "data that is no array": (
        lambda H: sg.hessian_operator(mlp, MLP_PARAMS, MLP_DATA[0], "y"),
        r"`data\[1\]` of the data is a str",
    ),
    "no batches": (
        lambda H: sg.hessian_operator(mlp, MLP_PARAMS, batches=[]) @ np.ones(75),
        "no batch",
    ),
    "used up": (lambda H: sg.hessian_operator(mlp, MLP_PARAMS, batches=iter([])), "used up"),
    "empty batch": (
        lambda H: (
            sg.hessian_operator(mlp, MLP_PARAMS, batches=[*parts(3), *parts(0)]) @ np.ones(75)
        ),
        "batch 1 is empty",
    ),
    "nan in a batch": (
        lambda H: sg.hessian_operator(mlp, MLP_PARAMS, batches=poisoned()) @ np.ones(75),
        r"`data\[0\]` has entries that are nan.*in batch 1",
    ),
    "nan in the parameters": (
        lambda H: (
            sg.hessian_operator(mlp, MLP_PARAMS | {"bias": np.full(3, np.nan)}, *MLP_DATA)
            @ np.ones(75)
        ),
        r"`params\['bias'\]` has entries",
    ),
    "nan in the loss": (
        lambda H: sg.hessian_operator(nan_loss, MLP_PARAMS, *MLP_DATA) @ np.ones(75),
        "the loss is nan",
    ),
    "nan in the vector": (lambda H: H @ np.full(75, np.inf), "`v` has entries"),
    "k too large": (lambda H: H.eigsh(76), "k=76 eigenvalues of an operator of dimension 75"),
    "no eigenvalues": (lambda H: H.eigsh(0), "k=0"),
    "unknown which": (lambda H: H.eigsh(1, "XX"), "'LA'"),
    "unknown method": (lambda H: H.solve(np.ones(75), method="lu"), "'minres'"),
    "unknown preconditioner": (
        lambda H: H.solve(np.ones(75), method="cg", precondition="x"),
        "'block'",
    ),
    "unknown trace": (lambda H: H.trace(KEY, method="x"), "hutchinson"),
    "two right sides": (lambda H: H.solve(np.ones((75, 2))), "one right side"),
    "other parameters": (
        lambda H: H + sg.hessian_operator(lambda x: x**2, jnp.ones(())),
        "dimensions 75 and 1",
    ),
    "no key": (
        lambda H: sg.hessian_operator(lambda x: jnp.sum(x) ** 3, jnp.ones(2000)).diagonal(
            exact=False
        ),
        "needs a key",
    ),
    "too large": (lambda H: H.dense(max_bytes=100), "22,500 bytes"),
    "reduction": (
        lambda H: sg.hessian_operator(mlp, MLP_PARAMS, batches=[], reduction="x"),
        "'mean'",
    ),
    "log-likelihood": (
        lambda H: sg.fisher_operator(mlp, MLP_PARAMS, *MLP_DATA),
        r"log-likelihood of each observation",
    ),
    "size for scipy": (
        lambda H: sg.scipy_objective(mlp, MLP_PARAMS, *MLP_DATA)(np.ones(3)),
        r"shape \(3,\) for 75 parameters",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_said(H, name):
    make, message = MISTAKES[name]
    with pytest.raises(sg.SymgradError, match=f"(?s){message}"):
        make(H)


def test_a_missing_library_is_named(H, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name=name.partition(".")[0])

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(sg.MissingLibraryError, match=r"(?s)scipy.*symgrad\[krylov\]"):
        H.to_scipy()
    with pytest.raises(ImportError, match="lineax"):
        H.to_lineax()


# In a terminal


def test_the_command_prints_the_spectrum(tmp_path, capsys):
    (tmp_path / "bowl.py").write_text(
        "import jax.numpy as jnp\n"
        "def loss(p, scale, shift):\n"
        "    return jnp.sum(scale * (p['a']['x'] - shift) ** 2)\n"
    )
    scale = np.arange(1, 41, dtype=np.float32)
    np.savez(tmp_path / "p.npz", **{"a/x": np.zeros(40, np.float32)})
    np.savez(tmp_path / "d.npz", shift=np.ones(40, np.float32), scale=scale)
    plot = tmp_path / "density.png"
    command = ["spectrum", f"{tmp_path}/bowl.py:loss", "-o", str(plot), "--top", "2"]
    files = ["--params", f"{tmp_path}/p.npz", "--data", f"{tmp_path}/d.npz"]
    assert main([*command, *files]) == 0
    said = capsys.readouterr().out
    assert "40 parameters" in said and "80  78" in said and "condition  40" in said
    assert plot.stat().st_size > 1000
    assert main([*command, "--params", f"{tmp_path}/none.npz"]) == 1
    assert "cannot be read" in capsys.readouterr().err
