"""Comparisons with JAX: `python -m benchmarks` measures them all, see `harness` for how."""
