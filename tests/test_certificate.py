"""What `sg.check` says of gradients that are right, wrong, rescued, or a convention."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symgrad as sg


def softplus(x):
    return jnp.log(1 + jnp.exp(x))


def cosine_quotient(x):
    return (1.0 - jnp.cos(x)) / x**2


def test_a_gradient_that_is_rescued():
    certificate = sg.check(softplus)(1000.0)
    assert certificate.holds
    assert certificate.rescued == ("x",)
    assert certificate.error == 0
    (fired,) = (f for f in certificate.firings if f.rule == "softplus_from_log")
    assert fired.protects == "overflow of exp"
    assert fired.lines == (f"test_certificate.py:{softplus.__code__.co_firstlineno + 1}",)
    assert "not finite in the program as written: x" in str(certificate)
    assert "softplus_from_log against overflow of exp at test_certificate.py" in str(certificate)


def test_a_gradient_that_is_wrong():
    certificate = sg.check(cosine_quotient, rules="none")(np.float32(1e-3))
    assert not certificate.holds
    assert certificate.worst == "x"
    assert certificate.error > 0.5
    assert "does not hold" in str(certificate)


def test_a_gradient_that_is_lost():
    certificate = sg.check(softplus, rules="none")(1000.0)
    assert certificate.lost == ("x",)
    assert not certificate.holds


def test_a_reference_of_the_users():
    certificate = sg.check(softplus, reference=jax.grad(softplus))(1.0)
    assert certificate.difference < 1e-6
    assert certificate.rescued == ()
    wrong = sg.check(softplus, reference=lambda x: 2 * jax.grad(softplus)(x))(1.0)
    assert wrong.difference == pytest.approx(0.5)
    with pytest.raises(sg.ArgumentError, match="other shapes"):
        sg.check(softplus, reference=lambda x: jnp.zeros(2))(1.0)


def test_kinks_and_infinities_are_told_apart():
    assert sg.check(jax.nn.relu)(0.0).kinks == ("x",)
    root = sg.check(jnp.sqrt)(0.0)
    assert (root.unsettled, root.compared, root.holds) == (1, 0, True)
    assert sg.check(lambda x: jnp.sin(x) / x, rules="none")(0.0).lost == ("x",)


def test_trees_and_several_arguments():
    def loss(params, x):
        return jnp.sum(jnp.tanh(params["w"] @ x) * params["b"])

    params = {"w": np.ones((2, 3), np.float32), "b": np.ones(2, np.float32)}
    certificate = sg.check(loss, (0, 1))(params, np.full(3, 0.2, np.float32))
    assert certificate.entries == certificate.compared == 11
    assert certificate.holds
    assert certificate.error < 1e-6
    only = sg.check(loss, 1)(params, np.full(3, 0.2, np.float32))
    assert only.entries == 3


def test_large_gradients_are_compared_along_directions():
    draws = np.random.default_rng(3)
    w, x = draws.normal(size=(30, 20)), draws.normal(size=(5, 30))
    certificate = sg.check(lambda w, x: jnp.mean(jnp.tanh(x @ w) ** 2))(
        w.astype(np.float32), x.astype(np.float32)
    )
    assert 0 < certificate.compared <= 8
    assert certificate.worst.startswith("direction")
    assert certificate.holds


def test_what_cannot_be_compared_says_why():
    unknown = sg.check(lambda x: jnp.sum(jnp.fft.fft(x).real))(np.ones(4, np.float32))
    assert "`fft` has no value" in unknown.note
    assert unknown.error is None
    large = sg.check(lambda x: jnp.sum(x @ x))(np.ones((200, 200), np.float32))
    assert "too large" in large.note


def test_explain_says_what_laws_protect_against():
    report = str(sg.grad(softplus).explain(1.0))
    assert (
        "protected against\n  overflow of exp: softplus_from_log at test_certificate.py" in report
    )
