"""The demo from first line to last: read a gradient, check it, train with it, draw it."""

from __future__ import annotations

from pathlib import Path

import jax

import symgrad as sg
from symgrad.demo import data, figures, tasks
from symgrad.demo.checks import GRADIENT_BOUND, HVP_BOUND, Check, gradient_error, hvp_errors
from symgrad.demo.models import Params
from symgrad.demo.screen import Screen
from symgrad.demo.tasks import Task
from symgrad.demo.training import Progress, fit

SEED = 0
DIRECTIONS = 5


def run(output: Path, *, quick: bool = False) -> list[str]:
    """Show everything, write programs and figures to `output`.

    Returns:
        one sentence for each target that was missed: empty when all is well.
    """
    screen = Screen()
    output.mkdir(parents=True, exist_ok=True)

    with screen.part("Real data: 1,797 handwritten digits"):
        digits = data.load()
        networks = [tasks.mlp(digits), tasks.lenet(digits)]
        if quick:
            networks = [task.for_a_glance() for task in networks]
        mlp, lenet = networks
        screen.say(
            f"{len(digits.train.x):,} images to learn from, {len(digits.held_out.x)} held out; "
            "8x8 pixels for the MLP, resized to 32x32 for LeNet."
        )
    with screen.part("The gradient of the MLP's loss, as the program that runs"):
        show_gradient(screen, mlp, output / "mlp_gradient.py")
    with screen.part("What simplification did to it"):
        screen.say(str(sg.value_and_grad(mlp.loss).explain(*first_batch(mlp))))
    with screen.part("Both gradients against jax.grad"):
        checks = [check_gradient(screen, task) for task in networks]
    with screen.part("Training with optax"):
        results = [train(screen, task) for task in networks]
        checks += [check_accuracy(*pair) for pair in zip(networks, results, strict=True)]
    with screen.part("Hessian-vector products against finite differences"):
        checks.append(check_hvp(screen, mlp, results[0][0]))
    with screen.part("Figures"):
        histories = {t.name: h for t, (_, h) in zip(networks, results, strict=True)}
        figures.loss_curves(histories, output / "loss_curves.png")
        draw_simplification(mlp, output / "simplification.png")
        (output / "lenet_gradient.py").write_text(sg.grad(lenet.loss).source(*first_batch(lenet)))
        screen.say("\n".join(f"wrote {path}" for path in sorted(output.iterdir())))

    screen.say()
    screen.show_checks(checks)
    screen.show_times()
    return [check.sentence for check in checks if not check.passed]


def first_batch(task: Task) -> tuple[Params, jax.Array, jax.Array]:
    """Arguments of the loss: random parameters, and as many images as a step of training sees."""
    inputs, labels = task.train
    return task.init(jax.random.key(SEED)), inputs[: task.batch], labels[: task.batch]


def show_gradient(screen: Screen, task: Task, file: Path) -> None:
    """Print the program that computes the gradient, and keep it."""
    source = sg.grad(task.loss).source(*first_batch(task))
    file.write_text(source)
    screen.show_source(source)


def check_gradient(screen: Screen, task: Task) -> Check:
    """One minibatch, symgrad against JAX."""
    error = gradient_error(task.loss, *first_batch(task))
    screen.say(f"{task.name:<6} largest relative error {error:.1e}")
    return Check(f"{task.name}: gradient, relative error", error, GRADIENT_BOUND)


def train(screen: Screen, task: Task) -> tuple[Params, list[Progress]]:
    """Train one network in sight of the reader."""
    with screen.progress(task.name, task.epochs) as advance:
        return fit(
            task,
            SEED,
            after_epoch=lambda p: advance(
                f"loss {p.train_loss:.4f}, held out {p.held_out_loss:.4f}, "
                f"accuracy {p.accuracy:.1%}"
            ),
        )


def check_accuracy(task: Task, result: tuple[Params, list[Progress]]) -> Check:
    """On the images that were held out, after the last epoch."""
    _, history = result
    what = f"{task.name}: accuracy on held-out digits"
    return Check(what, history[-1].accuracy, task.target, at_least=True)


def check_hvp(screen: Screen, task: Task, params: Params) -> Check:
    """Random directions, at the trained parameters."""
    _, inputs, labels = first_batch(task)
    keys = list(jax.random.split(jax.random.key(SEED), DIRECTIONS))
    errors = hvp_errors(task.loss, params, inputs, labels, keys=keys)
    for number, error in enumerate(errors, start=1):
        screen.say(f"direction {number}: relative error {error:.1e}")
    return Check(f"{task.name}: Hessian-vector product, relative error", max(errors), HVP_BOUND)


def draw_simplification(task: Task, file: Path) -> None:
    """The gradient as differentiation leaves it, beside the gradient that runs."""
    params, *batch = first_batch(task)
    forward = sg.trace(task.loss, params, *batch)
    raw = forward.grad(wrt=range(len(params)))
    figures.before_and_after(forward, raw, sg.grad(task.loss).graph(params, *batch), file)
