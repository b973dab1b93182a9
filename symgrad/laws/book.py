"""The phases: which laws are applied, in which order.

Lifting comes first, on the user's program and again on its derivative.
Simplifying brings signs and scale factors outward so that equal terms meet;
economising moves what is left to where the arrays are small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from symgrad.errors import ArgumentValueError
from symgrad.laws import (
    algebra,
    angles,
    averages,
    blocks,
    cancel,
    cholesky,
    composed,
    dead,
    determinants,
    divided,
    entropy,
    factored,
    fractions,
    growth,
    guards,
    homogeneous,
    hyperbolic,
    kinks,
    lift,
    limits,
    logs,
    masked,
    matrix,
    moments,
    nearly_equal,
    norms,
    odds,
    others,
    parameters,
    powers,
    products,
    quotients,
    ranges,
    shape,
    spectral,
    tails,
    weights,
)
from symgrad.laws.loops import tidy_loops
from symgrad.laws.matrix import merge_factorisations
from symgrad.laws.order import merge_sorts
from symgrad.ops.calls import has_custom, inline_custom, without_stops
from symgrad.pattern import Rule
from symgrad.rewrite import Phase
from symgrad.walk import Graph


def _rules_of(module: object) -> Phase:
    """The rules of a family, in the order they are written there."""
    return tuple(v for v in vars(module).values() if isinstance(v, Rule))


SHAPE = tuple(r for r in _rules_of(shape) if r is not shape.scale_before_repeating)
LIFT = (
    *SHAPE,
    *_rules_of(blocks),
    *_rules_of(angles),
    *_rules_of(lift),
    *_rules_of(tails),
    *_rules_of(odds),
    *_rules_of(factored),
    *_rules_of(logs),
    *_rules_of(masked),
    *_rules_of(entropy),
    *_rules_of(kinks),
    *_rules_of(moments),
    *_rules_of(norms),
    *_rules_of(hyperbolic),
    *_rules_of(cancel),
    *_rules_of(powers),
    *_rules_of(fractions),
    *_rules_of(spectral),
    *_rules_of(others),
    *_rules_of(ranges),
    growth.exponential_times_logistic,
    growth.exponential_times_lorentzian,
    growth.exponential_over_itself,
    *_rules_of(weights),
    *_rules_of(composed),
    *_rules_of(matrix),
    *_rules_of(cholesky),
    *_rules_of(determinants),
    *_rules_of(algebra),
    *_rules_of(averages),
    *_rules_of(divided),
    *_rules_of(limits),
    *_rules_of(parameters),
    *_rules_of(guards),
)
ECONOMY = (*SHAPE, shape.scale_before_repeating, algebra.fold_constants)

RANGES = (
    *_rules_of(dead),
    *_rules_of(products),
    *_rules_of(homogeneous),
    growth.quotient_of_exponentials,
    growth.quotient_by_several_exponentials,
    growth.quotient_by_expm1,
    growth.factor_of_quotient_by_expm1,
    growth.quotient_by_sinh,
    *_rules_of(quotients),
    *_rules_of(angles),
    *_rules_of(nearly_equal),
    algebra.negative_numerator,
    limits.simplified_function,
)
"""What other laws would no longer recognise once these are applied."""

DEFAULT_LIFT: tuple[Phase, ...] = (LIFT, RANGES)
DEFAULT_SIMPLIFY: tuple[Phase, ...] = (LIFT, RANGES, ECONOMY)


def phases(rules: str | Sequence[Rule]) -> tuple[tuple[Phase, ...], tuple[Phase, ...]]:
    """The phases before and after differentiation that `rules=` asks for.

    Raises:
        ArgumentValueError: `rules` is neither a known name nor a sequence of rules.
    """
    match rules:
        case "default":
            return DEFAULT_LIFT, DEFAULT_SIMPLIFY
        case "exact":
            return _exact(DEFAULT_LIFT), _exact(DEFAULT_SIMPLIFY)
        case "none":
            return (), ()
        case str():
            raise ArgumentValueError(
                f"rules={rules!r} is not known",
                fix='pass "default", "exact", "none", or a sequence of rules from sg.rules',
            )
    chosen = tuple(rules) if isinstance(rules, Iterable) else (rules,)
    strangers = [r for r in chosen if not isinstance(r, Rule)]
    if strangers:
        name = getattr(strangers[0], "__name__", repr(strangers[0]))
        raise ArgumentValueError(
            f"rules= contains {name}, which is not a rule", fix="take rules from sg.rules"
        )
    return (chosen,), (chosen,)


def _exact(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    return tuple(tuple(r for r in phase if r.exact) for phase in phases)


def prepared(graph: Graph) -> Graph:
    """A graph of which all derivatives have been taken, ready to be simplified.

    Functions with rules of their own become their bodies; what differentiation repeated,
    loops, sorts and factorisations, is done once.
    """
    inlined = inline_custom(graph)
    # JAX differentiates a program with such rules by its graph, any other by its text.
    plain = without_stops(inlined) if has_custom(graph) else inlined
    return merge_factorisations(merge_sorts(tidy_loops(plain)))


ALL = tuple(dict.fromkeys((*LIFT, *RANGES, *ECONOMY)))
"""Every rule, once."""
