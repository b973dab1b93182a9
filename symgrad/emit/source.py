"""A graph as readable Python that imports only `jax`: the text that is read is the text that runs.

Every node is an expression; it becomes a statement of its own when it is used
twice, when the user gave it a name, or when the line would grow too long.
Broadcasting is hidden where NumPy's rules bring it about.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgrad.emit.layout import WIDTH, statement
from symgrad.emit.names import Names, comment, docstring, identifier
from symgrad.emit.template import Text, fill, times_written
from symgrad.expr import (
    Captured,
    Expr,
    LocalFunction,
    Named,
    captured,
    item,
    literal,
    literal_source,
    number_source,
)
from symgrad.ops.calls import effect, opaque
from symgrad.ops.shape import broadcast
from symgrad.walk import UNKNOWN, Graph, topological

LONGEST_INLINE = 60
"""A subexpression longer than this gets a line and a name."""

IMPORTS = {
    "jax": "import jax",
    "jnp": "import jax.numpy as jnp",
    "lax": "from jax import lax",
    "checkpoint_name": "from jax.ad_checkpoint import checkpoint_name",
}


@dataclass(frozen=True, slots=True)
class Program:
    """An emitted program.

    Attributes:
        text: a Python module that defines one public function.
        name: the function's name.
        captured: arrays the function takes after its own arguments.
        foreign: callables for primitives without source, and objects such as meshes, by the
            name the text uses.
    """

    text: str
    name: str
    captured: tuple[Captured, ...]
    foreign: Mapping[str, Any]


def emit(graph: Graph, name: str, about: str = "") -> Program:
    """Write `graph` as the function `name`.

    Args:
        about: first line of the docstring.
    """
    order = schedule(graph)
    name = identifier(name, "program")
    names = Names({name, *_helper_names(graph)})
    objects = {o: names.claim(o.name) for o in dict.fromkeys(_objects_below(graph))}
    writer = _Writer(names, objects=objects)
    constants = list(dict.fromkeys(_captured_below(graph)))
    given = itertools.chain(graph.names, itertools.repeat(""))
    wanted = [n or f"x{i}" for i, n in zip(range(len(graph.inputs)), given, strict=False)]
    parameters = [writer.bind_name(n, e) for n, e in zip(wanted, graph.inputs, strict=True)]
    parameters += [writer.bind_name(c.params["array"].name, c) for c in constants]
    body = writer.function_body(graph, order, graph.outputs)
    header = _signature(name, parameters)
    doc = _docstring(about or name, parameters, [*graph.inputs, *constants])
    definitions = _with_helpers("\n".join([*header, *doc, *body]), list(writer.helpers))
    text = "\n\n\n".join([_imports(definitions), *definitions]).lstrip() + "\n"
    arrays = tuple(c.params["array"] for c in constants)
    foreign = {**writer.foreign, **{n: o.value for o, n in objects.items()}}
    return Program(text, name, arrays, foreign)


def _with_helpers(definition: str, helpers: Sequence[Callable[..., Any]]) -> list[str]:
    """A definition after the helpers that it calls; each comes after those that it calls."""
    found, used = [definition], _names_in(definition)
    for helper in reversed(helpers):
        if helper.__name__ in used:
            found.append(textwrap.dedent(inspect.getsource(helper)).rstrip())
            used |= _names_in(found[-1])
    return found[::-1]


def _names_in(definition: str) -> set[str]:
    return {n.id for n in ast.walk(ast.parse(definition)) if isinstance(n, ast.Name)}


def _imports(definitions: Sequence[str]) -> str:
    """The import statements that the definitions need."""
    used = set[str]().union(*map(_names_in, definitions))
    return "\n".join(line for name, line in IMPORTS.items() if name in used)


def schedule(graph: Graph) -> list[Expr]:
    """Operands first, and everything the forward pass computes before the backward pass.

    Effects belong to the forward pass, in their order.
    """
    order = topological(graph.roots)
    late: set[Expr] = set()
    for node in order[len(topological(graph.effects)) :]:
        made_by_derive = graph.origins.get(node, UNKNOWN).backward
        if made_by_derive or not late.isdisjoint(node.args):
            late.add(node)
    return [n for n in order if n not in late] + [n for n in order if n in late]


def _helper_names(graph: Graph) -> Iterable[str]:
    """Names of the functions that the operations of a graph and of its bodies call."""
    for node in topological(graph.roots):
        yield from (h.__name__ for h in node.op.helpers)
        for inner in node.op.functions(node) if node.op.functions else ():
            yield from _helper_names(inner.graph)


def _objects_below(graph: Graph) -> Iterable[Named]:
    """The objects that the operations of a graph and of its bodies refer to by name."""
    for node in topological(graph.roots):
        yield from (p for p in node.params.values() if isinstance(p, Named))
        for inner in node.op.functions(node) if node.op.functions else ():
            yield from _objects_below(inner.graph)


def _captured_below(graph: Graph) -> Iterable[Expr]:
    """The captured arrays of a graph and of all graphs its operations hold."""
    for node in topological(graph.roots):
        if node.op is captured:
            yield node
        for inner in node.op.functions(node) if node.op.functions else ():
            yield from _captured_below(inner.graph)


def _signature(name: str, parameters: Sequence[str]) -> list[str]:
    one_line = f"def {name}({', '.join(parameters)}):"
    if len(one_line) <= WIDTH:
        return [one_line]
    together = f"    {', '.join(parameters)}"
    if len(together) <= WIDTH:
        return [f"def {name}(", together, "):"]
    return [f"def {name}(", *(f"    {p}," for p in parameters), "):"]


def _docstring(about: str, parameters: Sequence[str], inputs: Sequence[Expr]) -> list[str]:
    first = textwrap.wrap(docstring(about), WIDTH - 10, break_on_hyphens=False)
    lines = [f'    """{first[0]}', *(f"    {line}" for line in first[1:]), "", "    Args:"]
    lines += [f"        {p}: {e.type}" for p, e in zip(parameters, inputs, strict=True)]
    if parameters:
        return [*lines, '    """']
    return [*lines[:-3], lines[-3] + '"""']


class _Writer:
    """Writes one function; inner functions get writers of their own that share the tables."""

    def __init__(
        self, names: Names, outer: _Writer | None = None, objects: Mapping[Named, str] | None = None
    ):
        self.names = names
        self.objects: Mapping[Named, str] = outer.objects if outer else objects or {}
        self.texts: dict[Expr, Text] = {}
        self.helpers: dict[Any, None] = outer.helpers if outer else {}
        self.foreign: dict[str, Any] = outer.foreign if outer else {}
        if outer is not None:
            self.texts.update((e, t) for e, t in outer.texts.items() if e.op is captured)

    def bind_name(self, wanted: str, node: Expr, stem: str = "") -> str:
        """Name an input, as it is wanted or by number."""
        name = self.names.claim(wanted) if wanted else self.names.numbered(stem)
        self.texts[node] = Text(name)
        return name

    def function_body(
        self, graph: Graph, order: Sequence[Expr], returned: Sequence[Any], indent: int = 4
    ) -> list[str]:
        """Statements for all nodes in `order` and the return."""
        counts, named = _uses(order, graph)
        lines: list[str] = []
        quoted, backward = "", False
        for node in order:
            if node in self.texts or node not in counts:
                continue
            if node.op is literal:
                self.texts[node] = _text(literal_source(node))
                continue
            if node.op is item:
                continue
            made = self._statement(node, graph, counts, named, indent)
            if made:
                origin = graph.origins.get(node, UNKNOWN)
                line = comment(origin.frame.text) if origin.frame else ""
                if origin.backward and not backward and indent == 4 and lines:
                    lines.append("")
                backward = backward or origin.backward
                if line and line != quoted and line != "\n".join(made).strip():
                    prefix = "backward: " if origin.backward else ""
                    lines.append(_clipped(" " * indent + f"# {prefix}{line}"))
                    quoted = line
                lines += made
        outputs = self._structure(returned, graph.outputs)
        several = len(returned) > 1 and indent + len(f"return {outputs}") > WIDTH
        return lines + statement(f"return ({outputs})" if several else f"return {outputs}", indent)

    def _statement(
        self,
        node: Expr,
        graph: Graph,
        counts: Mapping[Expr, int],
        named: set[Expr],
        indent: int,
    ) -> list[str]:
        """Lines that compute a node, none if it is written where it is used."""
        lines: list[str] = []
        functions: dict[str, str] = {}
        inner = node.op.functions(node) if node.op.functions else ()
        for local in inner:
            functions[local.name] = self.names.claim(_function_name(local, node, graph))
            lines += self._local_function(local, functions[local.name], indent)
        text = self._expression(node, functions)
        if node.type == () and not inner:
            return lines + statement(text.code, indent)
        if isinstance(node.type, tuple):
            pattern = inner[-1].returned if inner else tuple(range(len(node.type)))
            target = self._targets(node, graph, counts, pattern)
            target = f"({target})" if len(target) > LONGEST_INLINE else target
            return lines + statement(f"{target} = {text.code}", indent)
        if inner and len(inner[-1].returned) == 2:
            name = self._claimed(node, graph, _kind(node))
            pair = f"{name}, _" if inner[-1].returned[0] else f"_, {name}"
            self.texts[node] = Text(name)
            return lines + statement(f"{pair} = {text.code}", indent)
        inline = counts[node] <= 1 and node not in named and len(text.code) <= LONGEST_INLINE
        if inline and not graph.origins.get(node, UNKNOWN).name and not inner:
            self.texts[node] = text
            return []
        transposed = text.code.removesuffix(".T")
        if transposed != text.code and transposed.isidentifier():
            name = self.names.claim(f"{transposed}_T")
        else:
            name = self._claimed(node, graph, _kind(node))
        self.texts[node] = Text(name)
        return lines + statement(f"{name} = {text.code}", indent)

    def _expression(self, node: Expr, functions: Mapping[str, str]) -> Text:
        self.helpers.update(dict.fromkeys(node.op.helpers))
        if node.op is opaque or (node.op is effect and not node.params["text"]):
            name = self.names.numbered_everywhere(node.params["name"])
            self.foreign[name] = node.params["call"]
            return Text(f"{name}({', '.join(self.texts[a].code for a in node.args)})")
        template = _template(node)
        if "{" in template:
            named = {k: self.objects[p] for k, p in node.params.items() if isinstance(p, Named)}
            template = template.format(**{**node.params, **named, **functions})
        return fill(template, self._operands(node, template))

    def _operands(self, node: Expr, template: str) -> list[Text]:
        if not node.op.elementwise:
            return [self.texts[a] for a in node.args]
        bare = "lax." not in template
        return [
            _text(number_source(view.expr))
            if view.expr.op is literal and bare and _dtype_given_elsewhere(node, i)
            else Text(self._indexable(view.expr) + view.suffix)
            if view.suffix
            else self.texts[view.expr]
            for i, view in enumerate(views(node))
        ]

    def _indexable(self, node: Expr) -> str:
        text = self.texts[node]
        return text.code if text.kind == "a" else f"({text.code})"

    def _claimed(self, node: Expr, graph: Graph, kind: str, described: str = "") -> str:
        """The user's name for a value, or one that says what it is."""
        origin = graph.origins.get(node, UNKNOWN)
        wanted = origin.name or origin.hint or described
        return self.names.claim(wanted) if wanted else self.names.numbered(kind)

    def _targets(
        self, node: Expr, graph: Graph, counts: Mapping[Expr, int], pattern: Sequence[Any]
    ) -> str:
        """Names for the results of a node, in the structure that its call returns."""
        projections = {}
        for i in range(len(node.type)):
            projections[i] = item(node, index=i)
        inner = node.op.functions(node) if node.op.functions else ()
        described = _results_of_loop(inner[-1]) if inner else {}

        def name(i: int) -> str:
            if projections[i] not in counts:
                return "_"
            claimed = self._claimed(projections[i], graph, _kind(node), described.get(i, ""))
            self.texts[projections[i]] = Text(claimed)
            return claimed

        return _grouped(pattern, name)

    def _structure(self, pattern: Sequence[Any], outputs: Sequence[Expr]) -> str:
        if pattern is outputs:
            return ", ".join(self.texts[o].code for o in outputs) or "()"
        return _grouped(pattern, lambda i: self.texts[outputs[i]].code, empty="None")

    def _local_function(self, local: LocalFunction, name: str, indent: int) -> list[str]:
        """A loop body or branch as a function inside the program."""
        graph = local.graph
        writer = _Writer(self.names.inner(), self)
        for inside, outside in zip(graph.inputs, local.closed, strict=False):
            writer.texts[inside] = self.texts[outside]
        names = graph.names or ("",) * len(graph.inputs)
        unpacking: list[str] = []
        parameters = []
        for number, group in enumerate(local.parameters):
            wanted = (group,) if isinstance(group, int) else group
            stem = name if isinstance(group, int) else ("carried", "given")[number]
            claimed = [writer.bind_name(names[i], graph.inputs[i], stem) for i in wanted]
            match claimed:
                case []:
                    parameters.append("_" * (number + 1))
                case [single]:
                    parameters.append(single)
                case several:
                    parameters.append(writer.names.claim(("carry", "inputs")[number]))
                    target = ", ".join(several)
                    wide = indent + 4 + len(f"{target} = {parameters[-1]}") > WIDTH
                    target = f"({target})" if wide else target
                    unpacking += statement(f"{target} = {parameters[-1]}", indent + 4)
        body = writer.function_body(graph, schedule(graph), local.returned, indent + 4)
        pad = " " * indent
        return ["", f"{pad}def {name}({', '.join(parameters)}):", *unpacking, *body, ""]


@dataclass(frozen=True, slots=True)
class View:
    """An operand as it is written: the node, and an index that lines up its axes."""

    expr: Expr
    suffix: str = ""


def _template(node: Expr) -> str:
    source = node.op.source
    return source(node) if callable(source) else source


def views(node: Expr) -> list[View]:
    """Operands of an elementwise node with the broadcasts that NumPy performs left out."""
    found = [View(a) for a in node.args]
    if "lax." in _template(node):
        return found
    shapes = [a.shape for a in node.args]
    for i, arg in enumerate(node.args):
        if arg.op is not broadcast:
            continue
        (x,) = arg.args
        axes = arg.params["axes"]
        hidden = _aligned(x, axes, arg.ndim)
        # As the text has it: axes in front of the operand's first one are not written.
        first = axes[0] if axes and x.op is not literal else arg.ndim
        shape = tuple(x.shape[axes.index(a)] if a in axes else 1 for a in range(first, arg.ndim))
        trial = [*shapes[:i], shape, *shapes[i + 1 :]]
        if np.broadcast_shapes(*trial) == node.shape:
            found[i], shapes = hidden, trial
    return found


def _aligned(x: Expr, axes: tuple[int, ...], ndim: int) -> View:
    """`x` indexed so that NumPy's right alignment puts its axes at `axes`."""
    if x.op is literal or not axes:
        return View(x)
    first = axes[0]
    places = range(first, ndim)
    if len(places) == len(axes):
        return View(x)
    return View(x, "[" + ", ".join(":" if a in axes else "None" for a in places) + "]")


def _dtype_given_elsewhere(node: Expr, position: int) -> bool:
    """Whether a bare number at this place takes the dtype it should from another operand."""
    wanted = node.args[position]
    return any(
        a.op is not literal and a.dtype == wanted.dtype and (wanted.type.weak or not a.type.weak)
        for i, a in enumerate(_stripped(node))
        if i != position
    )


def _stripped(node: Expr) -> list[Expr]:
    return [v.expr for v in views(node)]


def _uses(order: Sequence[Expr], graph: Graph) -> tuple[dict[Expr, int], set[Expr]]:
    """How often each node is written where it is used, and the nodes that must have a name."""
    counts: dict[Expr, int] = {}
    named: set[Expr] = set()
    for root in graph.roots:
        counts[root] = counts.get(root, 0) + 1
    named.update(graph.effects)
    for node in reversed(order):
        if node not in counts:
            continue
        for i, arg in enumerate(_stripped(node) if node.op.elementwise else node.args):
            counts[arg] = counts.get(arg, 0) + times_written(node.op.source, i)
        for local in node.op.functions(node) if node.op.functions else ():
            named.update(local.closed)
    return counts, named


def _function_name(local: LocalFunction, node: Expr, graph: Graph) -> str:
    """What the user calls the function that a graph was read from."""
    frames = [local.graph.origins.get(o, UNKNOWN).frame for o in local.graph.outputs]
    caller = graph.origins.get(node, UNKNOWN).frame
    names = {f.function for f in frames if f is not None} - {caller.function if caller else ""}
    return next((n for n in names if len(names) == 1 and n.isidentifier()), local.name)


def _results_of_loop(body: LocalFunction) -> dict[int, str]:
    """Names for what a loop carries to its end, and for what it gathers from all iterations."""
    graph = body.graph
    found: dict[int, str] = {}
    match body.parameters, body.returned:
        case (tuple(carried), *_), (tuple(ends), *gathered) if graph.names:
            found = {e: graph.names[c] for c, e in zip(carried, ends, strict=False)}
            inputs = dict(zip(graph.inputs, graph.names, strict=True))
            for i in itertools.chain.from_iterable(gathered):
                node = graph.outputs[i]
                name = inputs.get(node) or graph.origins.get(node, UNKNOWN).name
                found[i] = f"all_{name or _kind(node)}"
    return found


def _kind(node: Expr) -> str:
    """What a value without a name is called after: the word that its text begins with."""
    if node.op is opaque:
        return node.params["name"]
    template = _template(node)
    function = re.match(r"(?:jnp|jax\.nn)\.(\w+)\(", template)
    if " @ " in template or template.startswith("jnp.matmul("):
        return "product"
    return function[1] if function and not template.startswith("jnp.linalg") else node.op.name


def _text(code: str) -> Text:
    return Text(code, "-a" if code.startswith("-") else "a")


def _clipped(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 4] + " ..."


def _grouped(pattern: Sequence[Any], write: Callable[[int], str], empty: str = "_") -> str:
    """A nested structure as source; a group of one is bare."""

    def group(entry: Any) -> str:
        if isinstance(entry, int):
            return write(entry)
        names = [write(i) for i in entry]
        return empty if not names else names[0] if len(names) == 1 else f"({', '.join(names)})"

    return ", ".join(group(entry) for entry in pattern)
