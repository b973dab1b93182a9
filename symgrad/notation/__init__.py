"""Graphs as mathematics: formulas, tables of derivations, and SymPy."""
