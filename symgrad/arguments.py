"""The arguments of one call: leaves, their types and names, and what is differentiated."""

from __future__ import annotations

import inspect
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from symgrad.errors import ArgumentError
from symgrad.expr import Type
from symgrad.tracing import Home, definition, home_of, type_of


@dataclass(frozen=True, slots=True)
class Arguments:
    """Flattened arguments.

    Attributes:
        tree: structure of `(args, kwargs)`.
        types: abstract values of the leaves.
        homes: where the leaves live.
        names: a distinct name for each leaf, from parameter names and pytree paths.
        paths: each leaf as the caller would write it, for messages.
        positions: number of the positional argument a leaf belongs to, -1 for keywords.
        subtrees: structure of each positional argument.
    """

    tree: Any
    types: tuple[Type, ...]
    homes: tuple[Home | None, ...]
    names: tuple[str, ...]
    paths: tuple[str, ...]
    positions: tuple[int, ...]
    subtrees: tuple[Any, ...]

    def count(self, positions: range) -> int:
        """How many leaves the arguments at these positions have."""
        return sum(p in positions for p in self.positions)

    def leaves_of(self, position: int) -> list[int]:
        """The numbers of one argument's leaves."""
        return [i for i, p in enumerate(self.positions) if p == position]


def describe(
    args: Sequence[Any], kwargs: Mapping[str, Any], parameter_names: Sequence[str], extra: int = 0
) -> Arguments:
    """Flatten a call's arguments.

    Args:
        parameter_names: of the positional arguments.
        extra: this many arguments at the front are not the function's own; they give way
            when names collide.

    Raises:
        ArgumentError: a leaf is not an array or a number.
    """
    paths, tree = jax.tree_util.tree_flatten_with_path((tuple(args), dict(kwargs)))
    types, labels, spelled, positions = [], [], [], []
    for path, leaf in paths:
        in_kwargs = path[0].idx == 1
        base = str(path[1].key if in_kwargs else parameter_names[path[1].idx])
        written = base + jax.tree_util.keystr(path[2:])
        types.append(_leaf_type(leaf, written))
        labels.append(_labels(base, path[2:]))
        spelled.append(written)
        positions.append(-1 if in_kwargs else path[1].idx)
    subtrees = tuple(jax.tree.structure(a) for a in args)
    own = sum(p not in range(extra) for p in positions)
    names = _distinct(labels[len(labels) - own :])
    names = _distinct([(whole,) * 3 for *_, whole in labels[: len(labels) - own]]) + names
    return Arguments(
        tree,
        tuple(types),
        tuple(home_of(leaf) for _, leaf in paths),
        names,
        tuple(spelled),
        tuple(positions),
        subtrees,
    )


def _leaf_type(leaf: Any, written: str) -> Type:
    try:
        return type_of(leaf)
    except TypeError:
        kind = getattr(leaf, "dtype", None)
        of = "" if kind is None else f" of dtype {kind}"
        raise ArgumentError(
            f"`{written}` is a {type(leaf).__name__}{of}, not an array of numbers or a number",
            fix="pass arrays, numbers, or pytrees of them; close over other values, or with "
            "sg.jit mark the argument static",
        ) from None


def _labels(base: str, path: Sequence[Any]) -> tuple[str, ...]:
    """Names for a leaf, from the shortest to the longest."""
    keys = [str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path]
    whole = "_".join([base, *keys])
    if not keys:
        return (base,) * 3
    last = keys[-1] if not keys[-1].isdigit() else whole
    inner = "_".join(keys) if not keys[0].isdigit() else whole
    return last, inner, whole


def _distinct(labels: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The shortest label of each leaf that no other leaf has."""
    counts = [Counter(level) for level in zip(*labels, strict=True)]

    def shortest(own: tuple[str, ...]) -> str:
        alone = (n for n, count in zip(own, counts, strict=True) if count[n] == 1)
        return next(alone, own[-1])

    return tuple(map(shortest, labels))


def parameter_names(fun: Callable[..., Any], count: int) -> tuple[str, ...]:
    """Names of the first `count` positional parameters, `arg0`, ... where there are none."""
    names: list[str] = []
    for p in _parameters_of(fun) or ():
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            names.append(p.name)
        elif p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}_{i}" for i in range(count - len(names))]
    names += [f"arg{i}" for i in range(len(names), count)]
    return tuple(names[:count])


def check_callable(fun: Any, name: str) -> None:
    """Whether there is a function to transform.

    Raises:
        ArgumentError: it is not callable.
    """
    if not callable(fun):
        kind = "array" if isinstance(fun, jax.Array | np.ndarray) else type(fun).__name__
        raise ArgumentError(
            f"{name} transforms a function, but was given a value of type {kind}",
            fix=f"sg.{name}(f)(x), not sg.{name}(f(x))",
        )


def check_values(args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str]) -> None:
    """Whether all leaves have values.

    Raises:
        ArgumentError: a leaf is a `jax.ShapeDtypeStruct`; only `.source` and its kin take those.
    """
    paths, _ = jax.tree_util.tree_flatten_with_path((tuple(args), dict(kwargs)))
    for path, leaf in paths:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            base = str(path[1].key if path[0].idx else names[path[1].idx])
            written = base + jax.tree_util.keystr(path[2:])
            raise ArgumentError(
                f"`{written}` is a ShapeDtypeStruct, which has no value",
                fix="call with arrays; .graph, .source, .explain and .lower take shapes",
            )


def check_call(fun: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Whether the function can be called like this.

    Raises:
        ArgumentError: arguments are missing, duplicate or too many.
    """
    try:
        signature = inspect.signature(fun)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(fun, "__name__", "the function")
        count = f"{len(args)} positional argument{'s' if len(args) != 1 else ''}"
        named = f" and {', '.join(sorted(kwargs))}" if kwargs else ""
        raise ArgumentError(
            f"`{name}` takes ({_parameters(signature)}), but was called with {count}{named}: "
            f"{error}",
            frame=definition(fun),
            fix="call the transformed function like the function itself",
        ) from None


def _parameters(signature: inspect.Signature) -> str:
    """The parameters of a signature without the values of defaults, which may be arrays."""
    return ", ".join(
        str(p.replace(default=p.empty, annotation=p.empty))
        + ("" if p.default is p.empty else "=...")
        for p in signature.parameters.values()
    )


def structure(tree: Any) -> str:
    """A pytree's structure as people write it, with a star for every leaf."""
    return str(tree).removeprefix("PyTreeDef(").removesuffix(")")


def resolve_argnums(argnums: int | Sequence[int], count: int, name: str) -> tuple[int, ...]:
    """Argument numbers counted from 0.

    Raises:
        ArgumentError: not integers, out of range, or one of them twice.
    """
    given = (argnums,) if not isinstance(argnums, Sequence) else tuple(argnums)
    try:
        numbers = [operator.index(n) for n in given]
    except TypeError:
        raise ArgumentError(
            f"argnums of {name} must be an integer or a tuple of integers, got {argnums!r}",
            fix="argnums counts positional arguments from 0",
        ) from None
    for n in numbers:
        if not -count <= n < count:
            raise ArgumentError(
                f"{name} is to differentiate argument {n} (argnums={argnums!r}), but was called "
                f"with {count} positional argument{'s' if count != 1 else ''}",
                fix="argnums counts positional arguments from 0; keyword arguments are not "
                "differentiated",
            )
    resolved = tuple(n % count for n in numbers)
    if len(set(resolved)) != len(resolved):
        raise ArgumentError(
            f"argnums={argnums!r} of {name} names an argument twice, when it was called with "
            f"{count} positional argument{'s' if count != 1 else ''}",
            fix="name every argument once",
        )
    return resolved


def resolve_positions(
    fun: Callable[..., Any], option: str, given: int | Sequence[int]
) -> tuple[int, ...]:
    """Positions of parameters of `fun`, as `static_argnums` names them.

    Raises:
        ArgumentError: not integers, or out of range.
    """
    numbers = tuple(given) if isinstance(given, Sequence) else (given,)
    count = _positional_count(fun)
    for n in numbers:
        if not hasattr(n, "__index__"):
            raise ArgumentError(
                f"{option} must be an integer or integers, got {given!r}",
                fix="arguments are named in static_argnames, and counted from 0 in static_argnums",
            )
        if count is not None and not -count <= n < count:
            raise ArgumentError(
                f"{option}={given!r} names argument {n} of a function of {count}",
                fix=f"{option} counts positional arguments from 0",
            )
    return tuple(map(operator.index, numbers))


def _positional_count(fun: Callable[..., Any]) -> int | None:
    """How many positional arguments a function takes at most, None if there is no limit."""
    parameters = _parameters_of(fun)
    if parameters is None or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def resolve_names(
    fun: Callable[..., Any], option: str, given: str | Sequence[str]
) -> tuple[str, ...]:
    """Names of parameters of `fun`.

    Raises:
        ArgumentError: the function has no such parameter.
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    parameters = _parameters_of(fun)
    if parameters is None or any(p.kind is p.VAR_KEYWORD for p in parameters):
        return names
    known = [p.name for p in parameters]
    for name in names:
        if name not in known:
            raise ArgumentError(
                f"{option}={given!r} names {name!r}, which is none of the parameters "
                f"({', '.join(known)})",
                fix=f"{option} takes names of parameters",
            )
    return names


def _parameters_of(fun: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """The parameters of a function, None for builtins that do not tell."""
    try:
        return list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return None
