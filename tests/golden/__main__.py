"""Write every golden program again: `make golden`."""

from __future__ import annotations

from golden.definitions import PROGRAMS

for program in PROGRAMS:
    program.derivative.save_source(program.file, *program.args)
