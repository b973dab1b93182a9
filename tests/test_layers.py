"""House rules, read off the source: imports go down, JAX is used from the front, names explain."""

from __future__ import annotations

import ast
import inspect
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import symgrad as sg

ROOT = Path(sg.__file__).parent

LAYERS = (
    ("errors", "kept", "progress"),
    ("expr",),
    ("walk",),
    ("ops.shape", "ops.accurate"),
    ("ops.pointwise",),
    ("ops.reduce",),
    ("masks",),
    ("derive",),
    ("ops",),
    ("matrices", "structure", "exact", "formula", "verified"),
    ("series",),
    ("pattern", "cost"),
    ("rewrite",),
    ("laws",),
    ("plan",),
    ("tracing",),
    ("emit", "saved"),
    ("jacobian", "arguments", "account"),
    ("report",),
    ("notation",),
    ("pictures",),
    ("compile",),
    ("graph", "structured"),
    ("transform",),
    ("derivatives",),
    ("api",),
    ("certificate", "assumptions", "curvature"),
    ("__init__",),
    ("cli", "demo"),
)
"""From the ground up; a package stands for its modules, but for those that are named."""


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax tree of every module by its name inside the package."""
    found = {}
    for file in sorted(ROOT.rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = ast.parse(file.read_text(), str(file))
    return found


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of every import, the name empty for `import module`."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, "") for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, "imports inside the package are written in full"
                yield from ((module or "", alias.name) for alias in names)


def own_imports(name: str) -> set[str]:
    """The modules of symgrad that a module imports."""
    found = set()
    for module, attribute in imports(modules()[name]):
        if module.split(".")[0] != "symgrad":
            continue
        inside = module.removeprefix("symgrad").removeprefix(".")
        within = f"{inside}.{attribute}".strip(".")
        found.add(within if within in modules() else inside or "__init__")
    return found


def layer(name: str) -> tuple[int, str]:
    """The number of a module's layer, and the entry that puts it there: the longest that fits."""
    fitting = [
        (len(entry), number, entry)
        for number, entries in enumerate(LAYERS)
        for entry in entries
        if name == entry or name.startswith(f"{entry}.")
    ]
    assert fitting, f"{name} has no place in LAYERS"
    _, number, entry = max(fitting)
    return number, entry


def test_layers_are_those_that_exist():
    assert {layer(name)[1] for name in modules()} == {e for entries in LAYERS for e in entries}


@pytest.mark.parametrize("name", modules())
def test_imports_go_down(name):
    own, entry = layer(name)
    for imported in own_imports(name):
        below, other = layer(imported)
        assert below < own or other == entry, f"{name} imports {imported}"


def test_imports_have_no_cycle():
    try:
        TopologicalSorter({name: own_imports(name) for name in modules()}).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("name", modules())
def test_imports_stand_at_the_top(name):
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            assert not list(imports(node)), f"line {node.lineno}"


def dotted(node: ast.expr) -> str:
    """`a.b.c` as written, empty for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            head = dotted(value)
            return f"{head}.{attribute}" if head else ""
    return ""


def mentioned(tree: ast.AST) -> set[str]:
    """Every dotted name a module mentions, and everything it imports."""
    found = {dotted(n) for n in ast.walk(tree) if isinstance(n, ast.Name | ast.Attribute)}
    return found | {f"{module}.{name}".strip(".") for module, name in imports(tree)}


@pytest.mark.parametrize("name", modules())
def test_only_public_jax_is_used(name):
    assert not [m for m in mentioned(modules()[name]) if m.startswith("jax._src") or "jaxlib" in m]


JAXPR = {"jaxpr", "jaxprs", "eqns", "invars", "outvars", "constvars", "make_jaxpr", "Jaxpr"}


@pytest.mark.parametrize("name", [n for n in modules() if layer(n)[1] != "tracing"])
def test_only_tracing_knows_jaxprs(name):
    words = {word for m in mentioned(modules()[name]) for word in m.split(".")}
    assert not words & JAXPR
    assert not [m for m in mentioned(modules()[name]) if m.startswith(("jax.extend", "jax.core"))]


DERIVATIVES = {
    *("grad", "value_and_grad", "vjp", "jvp", "linearize", "linear_transpose", "jacobian"),
    *("jacfwd", "jacrev", "hessian", "fwd_and_bwd", "vjp3", "ad", "custom_gradient", "checkpoint"),
}


@pytest.mark.parametrize("name", [n for n in modules() if layer(n)[1] != "demo"])
def test_jax_is_never_asked_for_a_derivative(name):
    """The demo may: there JAX is what symgrad is compared with."""
    roots = ("jax", "jnp", "lax")
    asked = [
        m
        for m in mentioned(modules()[name])
        if m.split(".")[0] in roots and not DERIVATIVES.isdisjoint(m.split(".")[1:])
    ]
    assert asked == (["jax.interpreters.ad"] if name == "tracing.foreign" else [])


def test_only_the_rules_of_other_packages_are_looked_up():
    """`jax.interpreters.ad` holds the tables of them, and the marks that rules are given."""
    used = {m for m in mentioned(modules()["tracing.foreign"]) if m.startswith("ad.")}
    tables = {"ad.primitive_jvps", "ad.primitive_transposes"}
    assert used == tables | {f"{t}.get" for t in tables} | {"ad.Zero", "ad.UndefinedPrimal"}


def test_the_demo_asks_jax_only_to_compare():
    asking = {
        name
        for name, tree in modules().items()
        if any(m.startswith("jax.") and m.split(".")[-1] in DERIVATIVES for m in mentioned(tree))
    }
    assert asking <= {"demo.checks", "demo.training", "tracing.foreign"}


def test_only_the_compiler_executes_text():
    executing = {
        name
        for name, tree in modules().items()
        if mentioned(tree) & {"exec", "eval", "compile", "__import__"}
    }
    assert executing == {"compile"}


# Names


@pytest.mark.parametrize("name", modules())
def test_modules_say_what_they_are_for(name):
    assert ast.get_docstring(modules()[name])


@pytest.mark.parametrize("name", [n for n in vars(sg) if not n.startswith("_")])
def test_public_names_explain_themselves(name):
    value = getattr(sg, name)
    if inspect.ismodule(value) or not callable(value):
        return
    assert inspect.getdoc(value)
    if inspect.isclass(value):
        methods = {n: m for n, m in vars(value).items() if not n.startswith("_")}
        silent = [n for n, m in methods.items() if inspect.isfunction(m) and not inspect.getdoc(m)]
        assert not silent


def bare(function: ast.FunctionDef) -> bool:
    """Whether a function may go without types: an equation, or one that is printed in programs."""
    return function.name in printed() or any(
        isinstance(d, ast.Call) and dotted(d.func) == "equation" for d in function.decorator_list
    )


@cache
def printed() -> set[str]:
    """The functions that operations name as helpers of their source."""
    return {
        name.split(".")[-1]
        for tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "helpers"
        for name in mentioned(node.value)
    }


@pytest.mark.parametrize("name", modules())
def test_public_functions_are_typed(name):
    for node in modules()[name].body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not bare(node):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert not [a.arg for a in arguments if a.annotation is None], node.name
            assert node.returns is not None, node.name


# What importing costs


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_brings_nothing_that_is_not_needed():
    code = "import sys, json, jax; before = set(sys.modules); import symgrad; {}"
    report = "print(json.dumps(sorted(set(sys.modules) - before)))"
    brought = json.loads(run(code.format(report)))
    packages = {m.split(".")[0] for m in brought} - sys.stdlib_module_names
    assert packages <= {"symgrad", "jax", "jaxlib"}


def test_importing_brings_no_heavy_package():
    heavy = {"sympy", "optax", "matplotlib", "sklearn", "scipy.optimize", "rich", "pandas", "flax"}
    loaded = set(json.loads(run("import sys, json, symgrad; print(json.dumps(list(sys.modules)))")))
    assert not heavy & loaded
    assert not {"symgrad.cli", "symgrad.demo"} & loaded


def test_importing_starts_no_backend():
    """No device is touched: a process that only imports symgrad may still choose its platform."""
    code = (
        "import symgrad, jax; jax.config.update('jax_platforms', 'cpu'); "
        "jax.config.update('jax_num_cpu_devices', 3); print(len(jax.devices()))"
    )
    assert run(code).strip() == "3"


@pytest.mark.slow
def test_importing_takes_a_tenth_of_a_second_more_than_jax():
    code = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"
    seconds = {
        name: statistics.median(float(run(code.format(what))) for _ in range(9))
        for name, what in (("jax", "jax, jax.numpy"), ("symgrad", "jax, jax.numpy, symgrad"))
    }
    assert seconds["symgrad"] - seconds["jax"] <= 0.1
