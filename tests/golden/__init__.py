"""Derivatives as symgrad writes them, kept as text; `definitions` has what they are of."""
