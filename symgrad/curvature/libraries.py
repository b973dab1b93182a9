"""The libraries that iterate: scipy, matfree, lineax. They are imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

from symgrad.errors import SymgradError


class MissingLibraryError(SymgradError, ImportError):
    """A library that symgrad leaves its iterations or pictures to is not installed.

    Example:
        >>> import symgrad as sg
        >>> issubclass(sg.MissingLibraryError, ImportError)
        True
    """

    code = "SG013"


def library(name: str, purpose: str, extra: str = "krylov") -> Any:
    """The module of this name.

    Args:
        name: of the module, with dots.
        purpose: what it is needed for, as the subject of a sentence.
        extra: of symgrad, that installs it.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingLibraryError(
            f"{purpose} needs {package}, which is not installed",
            fix=f"pip install 'symgrad[{extra}]'",
        ) from None
