"""Formulas as text: what LaTeX says of small formulas, in characters that a terminal has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

BELOW = dict(
    zip("0123456789-+=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₋₊₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True)
)
ABOVE = dict(zip("0123456789-+=()nTi⊤", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺⁼⁽⁾ⁿᵀⁱᵀ", strict=True))
ACCENTS = {"bar": "\u0304", "dot": "\u0307", "hat": "\u0302", "tilde": "\u0303"}

SIGNS: Mapping[str, str] = {
    **{"odot": "⊙", "oslash": "⊘", "top": "⊤", "infty": "∞", "sum": "Σ", "prod": "Π"},
    **{"neq": "≠", "le": "≤", "ge": "≥", "ll": "<<", "gg": ">>", "wedge": "∧", "vee": "∨"},
    **{"oplus": "⊕", "neg": "¬", "cdot": "·", "times": "×", "dots": "…", "to": "→"},
    **{"langle": "⟨", "rangle": "⟩", "Vert": "‖", "lvert": "|", "rvert": "|", "bmod": "mod"},
    **{"lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "partial": "∂", "Big": ""},
    **{"left": "", "right": "", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ"},
    **{"epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ", "iota": "ι", "kappa": "κ"},
    **{"lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ"},
    **{"tau": "τ", "upsilon": "υ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω"},
    **{"Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π"},
    **{"Sigma": "Σ", "Upsilon": "Υ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω"},
}
"""Commands that are one sign; others are written by their names."""

TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|[{}^_&]|[^\\{}^_&]+", re.S)


def plain(latex: str) -> str:
    """A formula of one operation, or of few, on one line."""
    tokens = iter(TOKEN.findall(latex))
    text = _until(tokens, "")
    tight = re.sub(r" +(?=[);])", "", re.sub(r"(?<=\() +", "", text))
    return unicodedata.normalize("NFC", re.sub(r"\s+", " ", tight).strip())


def _until(tokens: Iterator[str], end: str) -> str:
    """Everything up to the brace that closes a group."""
    pieces: list[str] = []
    for token in tokens:
        if token == end:
            break
        pieces.append(_written(token, tokens, pieces))
    return "".join(pieces)


def _group(tokens: Iterator[str]) -> str:
    """The next group in braces, or the next sign."""
    token = next(tokens, "")
    return _until(tokens, "}") if token == "{" else _written(token, tokens, [])


def _written(token: str, tokens: Iterator[str], before: list[str]) -> str:
    match token:
        case "{":
            return _until(tokens, "}")
        case "_":
            return _raised(_group(tokens), BELOW, "_")
        case "^":
            return _raised(_group(tokens), ABOVE, "^")
        case "&":
            return " if "
        case "\\\\":
            return "; "
        case "\\," | "\\ " | "\\;":
            return " "
    if not token.startswith("\\"):
        return token
    return _command(token[1:], tokens)


def _command(name: str, tokens: Iterator[str]) -> str:
    if name == "frac":
        above, below = _group(tokens), _group(tokens)
        return f"{_bracketed(above)}/{_bracketed(below)}"
    if name == "sqrt":
        return f"√{_bracketed(_group(tokens))}"
    if name in ACCENTS:
        inside = _group(tokens)
        return inside[:1] + ACCENTS[name] + inside[1:]
    if name in ("mathrm", "mathbf", "operatorname", "text", "overline"):
        return _group(tokens)
    if name in ("begin", "end"):
        _group(tokens)
        return "{" if name == "begin" else "}"
    return SIGNS.get(name, name)


def _bracketed(text: str) -> str:
    return text if re.fullmatch(r"[\w.\u0300-\u036f₀-₉₋]+", text) else f"({text})"


def _raised(text: str, signs: Mapping[str, str], mark: str) -> str:
    """Small digits where the character set has all that are needed."""
    tight = text.replace(" ", "")
    if all(c in signs for c in tight):
        return "".join(signs[c] for c in tight)
    return f"{mark}{text}" if len(tight) == 1 else f"{mark}({text})"
