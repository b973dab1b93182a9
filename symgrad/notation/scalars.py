"""Functions of numbers that laws have no need to write: what they stand for, in full."""

from __future__ import annotations

from collections.abc import Mapping

from symgrad.expr import Op
from symgrad.formula import ATOM, HADAMARD, POWER, PRODUCT, SUM, Notation
from symgrad.ops import (
    companions,
    differences,
    entropy,
    norm,
    pointwise,
    products,
    shares,
    special,
    stable,
    tails,
    waves,
)

SOFTPLUS: Notation = (r"\log\left(1 + e^{%s}\right)", ATOM, (0,))
SIGMOID: Notation = (r"\sigma\left(%s\right)", ATOM, (0,))


def _called(name: str, count: int = 1) -> Notation:
    places = ", ".join(["%s"] * count)
    return rf"{name}\left({places}\right)", ATOM, (0,) * count


def _connected(sign: str) -> Notation:
    return f"%s {sign} %s", SUM, (PRODUCT, PRODUCT)


FUNCTIONS: Mapping[Op, Notation] = {
    pointwise.expm1: ("e^{%s} - 1", SUM, (0,)),
    pointwise.log1p: (r"\log\left(1 + %s\right)", ATOM, (SUM,)),
    pointwise.softplus: SOFTPLUS,
    pointwise.relu: _called(r"\operatorname{relu}"),
    pointwise.sign: _called(r"\operatorname{sign}"),
    pointwise.arctan2: _called(r"\operatorname{arctan2}", 2),
    pointwise.logaddexp: (r"\log\left(e^{%s} + e^{%s}\right)", ATOM, (0, 0)),
    pointwise.rem: (r"%s \bmod %s", PRODUCT, (POWER, POWER)),
    pointwise.clamp: (r"\min\left(\max\left(%2$s, %1$s\right), %3$s\right)", ATOM, (0, 0, 0)),
    pointwise.eq_to: ("%s = %s", 0, (SUM, SUM)),
    pointwise.lt_to: ("%s < %s", 0, (SUM, SUM)),
    pointwise.le_to: (r"%s \le %s", 0, (SUM, SUM)),
    pointwise.and_: _connected(r"\wedge"),
    pointwise.or_: _connected(r"\vee"),
    pointwise.xor: _connected(r"\oplus"),
    pointwise.not_: (r"\neg %s", POWER, (POWER,)),
    pointwise.shift_left: _connected(r"\ll"),
    pointwise.shift_right_logical: _connected(r"\gg"),
    pointwise.shift_right_arithmetic: _connected(r"\gg"),
    pointwise.real: _called(r"\operatorname{Re}"),
    pointwise.imag: _called(r"\operatorname{Im}"),
    pointwise.conj: (r"\overline{%s}", ATOM, (0,)),
    pointwise.complex_: (r"%s + \mathrm{i} \, %s", SUM, (SUM, PRODUCT)),
    pointwise.magnitude: (r"\left\lvert %s \right\rvert", ATOM, (0,)),
    pointwise.round_: (r"\left\lfloor %s \right\rceil", ATOM, (0,)),
    pointwise.sech_squared: (r"\operatorname{sech}^{2}\left(%s\right)", POWER, (0,)),
    pointwise.logistic_slope: (r"\sigma'\left(%s\right)", ATOM, (0,)),
    pointwise.difference_of_squares: ("%s^{2} - %s^{2}", SUM, (ATOM, ATOM)),
    pointwise.lorentzian: (r"\frac{1}{1 + %s^{2}}", ATOM, (ATOM,)),
    pointwise.reciprocal_hypotenuse: (r"\frac{1}{\sqrt{1 + %s^{2}}}", ATOM, (ATOM,)),
    pointwise.gaussian: ("e^{-%s^{2}}", POWER, (ATOM,)),
    pointwise.over_squared_length: (
        r"\frac{%2$s}{%1$s^{2} + %2$s^{2}}",
        ATOM,
        (ATOM, ATOM),
    ),
    companions.sigmoid: SIGMOID,
    companions.sigmoid_of_minus: (r"\sigma\left(-%s\right)", ATOM, (PRODUCT,)),
    companions.softplus: SOFTPLUS,
    companions.softplus_of_minus: (r"\log\left(1 + e^{-%s}\right)", ATOM, (PRODUCT,)),
    products.over_one_plus_square: (r"\frac{%1$s}{1 + %1$s^{2}}", ATOM, (ATOM,)),
    products.log1p_square: (r"\log\left(1 + %s^{2}\right)", ATOM, (ATOM,)),
    products.log1p_tanh: (r"\log\left(1 + \tanh\left(%s\right)\right)", ATOM, (0,)),
    products.log_softplus: (r"\log \log\left(1 + e^{%s}\right)", ATOM, (0,)),
    products.softplus_hazard: (
        r"\frac{\sigma\left(%1$s\right)}{\log\left(1 + e^{%1$s}\right)}",
        ATOM,
        (0,),
    ),
    shares.share: (r"\frac{%1$s}{%1$s + %2$s}", ATOM, (SUM, SUM)),
    shares.softsign: (
        r"\frac{%1$s}{%2$s + \left\lvert %1$s \right\rvert}",
        ATOM,
        (0, SUM),
    ),
    shares.over_hypotenuse: (r"\frac{%1$s}{\sqrt{%2$s + %1$s^{2}}}", ATOM, (ATOM, SUM)),
    shares.inverse_hypotenuse: (r"\frac{1}{\sqrt{%2$s + %1$s^{2}}}", ATOM, (ATOM, SUM)),
    shares.geometric_mean: (r"\sqrt{%s \, %s}", ATOM, (PRODUCT, PRODUCT)),
    waves.sin_of_sum: (r"\sin\left(%s + %s\right)", ATOM, (SUM, SUM)),
    waves.cos_of_sum: (r"\cos\left(%s + %s\right)", ATOM, (SUM, SUM)),
    waves.difference_of_tangents: (
        r"\tan\left(%1$s + %2$s\right) - \tan\left(%1$s\right)",
        SUM,
        (SUM, SUM),
    ),
    differences.root_of_square_plus: (r"\sqrt{%s^{2} + %s}", ATOM, (ATOM, SUM)),
    differences.root_minus: (r"\sqrt{%1$s^{2} + %2$s} - %1$s", SUM, (ATOM, SUM)),
    differences.relative_root_minus: (
        r"1 - \frac{%1$s}{\sqrt{%1$s^{2} + %2$s}}",
        SUM,
        (ATOM, SUM),
    ),
    differences.over_roots_op: (r"\frac{%s}{%s}", ATOM, (0, 0)),
    differences.over_squared_roots_op: (r"\frac{%s}{%s^{2}}", ATOM, (0, ATOM)),
    differences.reciprocal_difference_op: (r"\frac{1}{%1$s} - \frac{1}{%2$s}", SUM, (0, 0, 0)),
    norm.ratio: (r"\frac{%s}{%s}", ATOM, (0, 0)),
    norm.hypot: (r"\sqrt{%s^{2} + %s^{2}}", ATOM, (ATOM, ATOM)),
    norm.direction: (r"\frac{%1$s}{\sqrt{%1$s^{2} + %2$s^{2}}}", ATOM, (ATOM, ATOM, 0)),
    norm.length: (r"\left\lvert %s \right\rvert", ATOM, (0,)),
    special.lgamma: (r"\log \Gamma\left(%s\right)", ATOM, (0,)),
    special.digamma: _called(r"\psi"),
    special.polygamma: (r"\psi^{\left(%1$s\right)}\left(%2$s\right)", ATOM, (0, 0)),
    special.zeta: _called(r"\zeta", 2),
    special.igamma: _called("P", 2),
    special.igammac: _called("Q", 2),
    special.regularized_incomplete_beta: (r"I_{%3$s}\left(%1$s, %2$s\right)", ATOM, (0, 0, 0)),
    special.bessel_i0e: (
        r"e^{-\left\lvert %1$s \right\rvert} \, I_{0}\left(%1$s\right)",
        PRODUCT,
        (0,),
    ),
    special.bessel_i1e: (
        r"e^{-\left\lvert %1$s \right\rvert} \, I_{1}\left(%1$s\right)",
        PRODUCT,
        (0,),
    ),
    tails.ndtr: _called(r"\Phi"),
    tails.log_ndtr_op: (r"\log \Phi\left(%s\right)", ATOM, (0,)),
    tails.log_erfc_op: (r"\log \operatorname{erfc}\left(%s\right)", ATOM, (0,)),
    stable.log_abs: (r"\log \left\lvert %s \right\rvert", ATOM, (0,)),
    stable.bose: (r"\frac{1}{e^{%s} - 1}", ATOM, (0,)),
    stable.over_expm1: (r"\frac{%s}{e^{%s} - 1}", ATOM, (0, 0)),
    stable.over_sinh: (r"\frac{%s}{\sinh\left(%s\right)}", ATOM, (0, 0)),
    stable.power_less_one: (r"\left(1 + %s\right)^{%s} - 1", SUM, (SUM, 0)),
    stable.log1mexp_op: (r"\log\left(1 - e^{%s}\right)", ATOM, (0,)),
    stable.log_cosh_op: (r"\log \cosh\left(%s\right)", ATOM, (0,)),
    stable.sech: _called(r"\operatorname{sech}"),
    entropy.xlogy: (r"%s \, \log\left(%s\right)", PRODUCT, (PRODUCT, 0)),
    entropy.xlog1py: (r"%s \, \log\left(1 + %s\right)", PRODUCT, (PRODUCT, SUM)),
    entropy.times_log_op: (r"%s \, \log\left(%s\right)", PRODUCT, (PRODUCT, 0)),
    entropy.times_log1p_op: (r"%s \, \log\left(1 + %s\right)", PRODUCT, (PRODUCT, SUM)),
    entropy.relative_entropy_op: (
        r"%1$s \, \log\left(\frac{%1$s}{%2$s}\right)",
        PRODUCT,
        (PRODUCT, 0),
    ),
    entropy.x_exp_x_op: (r"%1$s \, e^{%1$s}", PRODUCT, (PRODUCT,)),
    entropy.times_masked_op: (r"%s \odot %s", HADAMARD, (POWER, POWER)),
    entropy.masked_logaddexp: (r"\log\left(e^{%s} + e^{%s}\right)", ATOM, (0, 0)),
}
