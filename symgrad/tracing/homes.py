"""What JAX knows of an array beside its shape and dtype: where it lives, how it may differ.

Inside `jax.shard_map` an array's type says over which axes it may differ, and on a mesh with
explicit axes how it is sharded. No node knows either: they belong to the inputs and outputs
of a program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import ManualAxisType, NamedSharding, PartitionSpec

from symgrad.expr import Type


@dataclass(frozen=True, slots=True)
class Home:
    """Where an array lives, as its type has it.

    Attributes:
        manual: the manual axes over which it differs.
        sharding: its mesh, and what is known of its layout.
    """

    manual: ManualAxisType
    sharding: NamedSharding

    @property
    def explicit(self) -> bool:
        return bool(self.sharding.mesh.explicit_axes)


@dataclass(frozen=True, slots=True)
class Homes:
    """Where the inputs and outputs of a program live; none are given for nowhere special."""

    inputs: Sequence[Home | None] = ()
    outputs: Sequence[Home | None] = ()

    @property
    def varying_inputs(self) -> list[frozenset[str]]:
        """The manual axes over which each input differs."""
        return _varying(self.inputs)

    @property
    def varying_outputs(self) -> list[frozenset[str]]:
        return _varying(self.outputs)


def _varying(homes: Sequence[Home | None]) -> list[frozenset[str]]:
    return [frozenset() if h is None else frozenset(h.manual.varying) for h in homes]


def home_of(leaf: Any) -> Home | None:
    """Where an array, a Python number or a `jax.ShapeDtypeStruct` lives; None: nowhere special."""
    if not isinstance(leaf, jax.ShapeDtypeStruct):
        return home_of_aval(jax.typeof(leaf))
    if not isinstance(leaf.sharding, NamedSharding):
        return None
    abstract = NamedSharding(leaf.sharding.mesh.abstract_mesh, leaf.sharding.spec)
    return _unless_plain(leaf.manual_axis_type or ManualAxisType(), abstract)


def home_of_aval(aval: Any) -> Home | None:
    sharding = getattr(aval, "sharding", None)
    return None if sharding is None else _unless_plain(aval.mat, sharding)


def _unless_plain(manual: ManualAxisType, sharding: NamedSharding) -> Home | None:
    mesh = sharding.mesh
    return None if mesh.empty or mesh.are_all_axes_auto else Home(manual, sharding)


def unsharded(beside: Iterable[Home | None]) -> Home | None:
    """Where an array goes that has no home of its own, in a program with others that have one."""
    explicit = [h for h in beside if h is not None and h.explicit]
    if not explicit:
        return None
    return Home(ManualAxisType(), NamedSharding(explicit[0].sharding.mesh, PartitionSpec()))


def struct(type: Type, home: Home | None) -> jax.ShapeDtypeStruct:
    """An abstract array of a type that lives somewhere."""
    if home is None:
        return jax.ShapeDtypeStruct(type.shape, type.dtype, weak_type=type.weak)
    return jax.ShapeDtypeStruct(
        type.shape,
        type.dtype,
        weak_type=type.weak,
        sharding=home.sharding,
        manual_axis_type=home.manual,
    )


@jax.jit
def _nothing() -> tuple[()]:
    return ()


def context() -> Any:
    """What JAX would trace a function anew for: settings, meshes, sizes of named axes.

    JAX keeps one trace of a function for each such context, and that trace is the answer.
    """
    return _nothing.trace().jaxpr.jaxpr


@dataclass(frozen=True, slots=True)
class Shards:
    """What a `jax.shard_map` says about where its body runs."""

    mesh: Any
    axes: frozenset[str]
    check_vma: bool

    def call(self, build: Callable[[], Any]) -> Any:
        """The result of `build` where the body of the `jax.shard_map` is traced."""
        found: list[Any] = []

        def body() -> tuple[()]:
            found.append(build())
            return ()

        options: Any = {"axis_names": self.axes, "check_vma": self.check_vma}
        jax.eval_shape(jax.shard_map(body, mesh=self.mesh, in_specs=(), out_specs=(), **options))
        return found[0]


_around: ContextVar[tuple[Shards, ...]] = ContextVar("around", default=())


@contextmanager
def within(shards: Shards) -> Iterator[None]:
    """What is read now is the body of a `jax.shard_map`."""
    token = _around.set((*_around.get(), shards))
    try:
        yield
    finally:
        _around.reset(token)


def where_read(build: Callable[..., Any]) -> Callable[..., Any]:
    """`build`, to be called later as if it were called where a jaxpr is being read now."""
    around = _around.get()

    def called(*args: Any) -> Any:
        run = functools.partial(build, *args)
        for shards in reversed(around):
            run = functools.partial(shards.call, run)
        return run()

    return called
