"""`python -m benchmarks [--only ROW] [--output DIR]`: measure, print and write the results."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from benchmarks import algebra, corpus, first_path, networks, overhead, products, report
from benchmarks.harness import Comparison, Fact, compare

ROWS = {
    "first_path": first_path,
    "products": products,
    "networks": networks,
    "algebra": algebra,
    "corpus": corpus,
    "overhead": overhead,
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=ROWS, action="append", help="may be given several times")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: benchmarks/")
    options = parser.parse_args(argv)

    jax.config.update("jax_default_matmul_precision", "highest")
    results = {}
    for row in options.only or ROWS:
        start = time.perf_counter()
        results[row] = (ROWS[row].ABOUT, measure(row))
        print(f"{row}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    print(report.markdown(results))
    if options.output or not options.only:
        report.write(results, options.output or Path(__file__).parent)


def measure(row: str) -> list[Comparison | Fact]:
    """The comparisons of a row's cases, or its facts."""
    module = ROWS[row]
    if hasattr(module, "facts"):
        return module.facts()
    return [compare(case) for case in module.cases()]


if __name__ == "__main__":
    main()
