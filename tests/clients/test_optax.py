"""Optax: all its losses, and training with its optimisers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import QUICK, Draws, Program, agree, check_programs

import symgrad as sg

optax = pytest.importorskip("optax")


def one_hot(draw: Draws, count: int, classes: int):
    return np.eye(classes, dtype=draw.dtype)[draw.whole(classes, count)]


def distribution(draw: Draws, *shape: int):
    values = draw.positive(*shape)
    return values / values.sum(-1, keepdims=True)


def signs(draw: Draws, *shape: int):
    return np.where(draw(*shape) > 0, 1, -1).astype(draw.dtype)


def padded_text(draw: Draws):
    paddings = np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, 1]], draw.dtype)
    labels = np.array([[1, 2], [3, 0]], np.int32)
    return draw(2, 5, 4), paddings, labels, np.array([[0, 0], [0, 1]], draw.dtype)


ARGUMENTS = {
    "sigmoid_binary_cross_entropy": lambda d: (d(4, 3), d.positive(4, 3) / 2),
    "hinge_loss": lambda d: (d(5), signs(d, 5)),
    "perceptron_loss": lambda d: (d(5), signs(d, 5)),
    "sparsemax_loss": lambda d: (d(5), d.whole(2, 5)),
    "safe_softmax_cross_entropy": lambda d: (d(4, 3), one_hot(d, 4, 3)),
    "softmax_cross_entropy": lambda d: (d(4, 3), distribution(d, 4, 3)),
    "softmax_cross_entropy_with_integer_labels": lambda d: (d(4, 3), d.whole(3, 4)),
    "multiclass_hinge_loss": lambda d: (d(4, 3), d.whole(3, 4)),
    "multiclass_perceptron_loss": lambda d: (d(4, 3), d.whole(3, 4)),
    "multiclass_sparsemax_loss": lambda d: (d(4, 3), d.whole(3, 4)),
    "poly_loss_cross_entropy": lambda d: (d(4, 3), one_hot(d, 4, 3)),
    "kl_divergence": lambda d: (d(4, 3), distribution(d, 4, 3)),
    "kl_divergence_with_log_targets": lambda d: (d(4, 3), np.log(distribution(d, 4, 3))),
    "generalized_kl_divergence": lambda d: (d(4, 3), distribution(d, 4, 3)),
    "convex_kl_divergence": lambda d: (d(4, 3), distribution(d, 4, 3)),
    "ctc_loss": padded_text,
    "ctc_loss_with_forward_probs": padded_text,
    "sigmoid_focal_loss": lambda d: (d(4, 3), d.positive(4, 3) / 2),
    "ranking_softmax_loss": lambda d: (d(2, 4), d.positive(2, 4)),
    "cosine_distance": lambda d: (d(4, 3), d(4, 3)),
    "cosine_similarity": lambda d: (d(4, 3), d(4, 3)),
    "huber_loss": lambda d: (2 * d(6), d(6)),
    "l2_loss": lambda d: (d(6), d(6)),
    "log_cosh": lambda d: (d(6), d(6)),
    "squared_error": lambda d: (d(6), d(6)),
    "binary_dice_loss": lambda d: (d(2, 5), one_hot(d, 2, 5)),
    "dice_loss": lambda d: (d(2, 5, 3), one_hot(d, 10, 3).reshape(2, 5, 3)),
    "multiclass_generalized_dice_loss": lambda d: (
        d(2, 5, 3),
        one_hot(d, 10, 3).reshape(2, 5, 3),
    ),
    "ntxent": lambda d: (d(6, 3), np.array([0, 0, 1, 1, 2, 2])),
    "triplet_margin_loss": lambda d: (d(4, 3), d(4, 3), d(4, 3)),
    "smooth_labels": lambda d: (distribution(d, 4, 3), d.dtype(0.1)),
}
"""Of every function in `optax.losses`."""


def first(result):
    return result[0] if isinstance(result, tuple) else result


def loss_program(name: str):
    function = getattr(optax.losses, name)

    def make(draw: Draws) -> Program:
        args = ARGUMENTS[name](draw)
        weights = draw.positive(*jax.eval_shape(lambda *a: first(function(*a)), *args).shape)
        loss = lambda x, *rest: jnp.sum(weights * first(function(x, *rest)))  # noqa: E731
        return Program(loss, args, twice=True)

    return make


def fenchel_young(draw: Draws) -> Program:
    loss = optax.losses.make_fenchel_young_loss(jax.nn.logsumexp)
    fun = lambda x, y: jnp.sum(jax.vmap(loss)(x, y))  # noqa: E731
    return Program(fun, (draw(4, 3), one_hot(draw, 4, 3)), twice=True)


@pytest.mark.filterwarnings("ignore:The function convex_kl_divergence is deprecated")
def test_losses(real, subtests):
    programs = {name: loss_program(name) for name in ARGUMENTS}
    check_programs({**programs, "make_fenchel_young_loss": fenchel_young}, real, subtests)


def test_every_loss_has_arguments():
    public = {n for n, f in vars(optax.losses).items() if callable(f) and not n.startswith("_")}
    assert public - set(ARGUMENTS) == {"make_fenchel_young_loss"}


OPTIMISERS = {
    "sgd": lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: optax.adam(0.1),
    "adamw": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1)),
    "lion": lambda: optax.lion(0.01),
    "rmsprop": lambda: optax.rmsprop(0.1),
    "adafactor": lambda: optax.adafactor(0.1, min_dim_size_to_factor=2),
    "lamb": lambda: optax.lamb(0.1),
    "lbfgs": lambda: optax.lbfgs(),
}


def test_training(float64, subtests):
    """A few steps of every optimiser end where they end with JAX's gradients."""
    draw = Draws("training", float64.dtype)
    x, y = draw(5, 3), draw(5)

    def loss(params):
        hidden = jnp.tanh(x @ params["w"] + params["b"])
        return optax.losses.huber_loss(hidden @ params["v"], y).mean()

    def train(by, optimiser, params):
        state = optimiser.init(params)

        def step(carry, _):
            params, state = carry
            value, grad = by.value_and_grad(loss)(params)
            updates, state = optimiser.update(
                grad, state, params, value=value, grad=grad, value_fn=loss
            )
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, state), length=3)

    params = {"w": draw(3, 2), "b": draw(2), "v": draw(2)}
    made = {n: optax.with_extra_args_support(make()) for n, make in OPTIMISERS.items()}
    run = lambda p: {n: [train(by, o, p) for by in (sg, jax)] for n, o in made.items()}  # noqa: E731
    for name, (ours, theirs) in jax.jit(run, compiler_options=QUICK)(params).items():
        with subtests.test(optimiser=name):
            agree(ours, theirs, float64.tolerance)
