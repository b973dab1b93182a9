"""What `symgrad spectrum` prints: the curvature of a loss, at parameters and on data from files."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from symgrad.curvature.kinds import hessian_operator
from symgrad.curvature.results import Spectrum
from symgrad.errors import ArgumentError, ArgumentValueError


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `symgrad spectrum`, beside the function's name."""
    parser.add_argument("--params", type=Path, required=True, metavar="FILE.npz")
    parser.add_argument("--data", type=Path, metavar="FILE.npz")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="eigenvalues; default: 5")
    parser.add_argument("--probes", type=int, default=8, help="random vectors; default: 8")
    parser.add_argument("--order", type=int, default=64, help="Lanczos steps; default: 64")
    parser.add_argument("--seed", type=int, default=0, help="of the random vectors; default: 0")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("spectrum.png"),
        metavar="FILE",
        help="for the density plot; default: spectrum.png",
    )


def report(loss: Callable[..., Any], options: argparse.Namespace) -> str:
    """The account of a loss's Hessian; the density plot is written to a file.

    Raises:
        ArgumentError: the files hold no arrays that the loss takes.
    """
    params = tree_of(read_arrays(options.params))
    data = () if options.data is None else in_order(loss, read_arrays(options.data))
    operator = hessian_operator(loss, params, *data)
    size = operator.shape[0]
    top, key = min(options.top, size), jax.random.key(options.seed)
    large, small = operator.eigsh(top, "LA"), operator.eigsh(min(top, size), "SA")
    trace, spectrum = operator.trace(key), operator.spectrum(key, options.probes, options.order)
    spectrum.plot(options.output)
    lines = [
        f"Hessian of {getattr(loss, '__name__', 'the loss')}: {size} parameters",
        f"largest    {_listed(large.values[::-1])}   ({large.stop})",
        f"smallest   {_listed(small.values)}   ({small.stop})",
        f"trace      {float(trace):.6g} ± {trace.standard_error:.2g}   ({trace.method})",
        f"condition  {_condition(small.values, large.values, spectrum)}",
        f"density    {spectrum!r}",
        f"wrote {options.output}",
    ]
    return "\n".join(lines)


def _condition(small: np.ndarray, large: np.ndarray, spectrum: Spectrum) -> str:
    """The quotient of the extreme magnitudes; what is smallest may lie inside the spectrum."""
    if len(small) and small[0] > 0 and len(large):
        return f"{large[-1] / small[0]:.3g}   (of the extreme eigenvalues)"
    sizes = np.abs(spectrum.nodes[spectrum.weights > 0])
    quotient = sizes.max() / sizes.min() if sizes.min() else float("inf")
    return f"{quotient:.3g}   (estimated inside the spectrum: not positive definite)"


def _listed(values: np.ndarray) -> str:
    return "  ".join(f"{v:.6g}" for v in values)


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name; no file can make this run code.

    Raises:
        ArgumentError: there is no such file, or it holds something else than arrays.
    """
    try:
        with np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ArgumentError(
            f"{file} cannot be read as arrays: {error}",
            fix="write it with numpy.savez(file, w=w, b=b)",
        ) from None


def tree_of(arrays: Mapping[str, np.ndarray]) -> Any:
    """Parameters of named arrays: a dict, nested at every slash; one without a name is itself."""
    if list(arrays) == ["arr_0"]:
        return arrays["arr_0"]
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = name.split("/")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ArgumentValueError(
                    f"the parameters have both an array {part!r} and arrays inside of it",
                    fix="give every array a name of its own",
                )
        place[last] = array
    return tree


def in_order(loss: Callable[..., Any], arrays: Mapping[str, np.ndarray]) -> tuple[Any, ...]:
    """Data in the order of the loss's parameters, where it has their names; else of the file."""
    try:
        names = list(inspect.signature(loss).parameters)[1:]
    except (TypeError, ValueError):
        names = []
    if set(arrays) <= set(names):
        return tuple(arrays[name] for name in names if name in arrays)
    return tuple(arrays.values())
