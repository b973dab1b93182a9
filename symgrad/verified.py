"""How every rule was verified; made by `make rules`, and a test keeps it true."""

VERIFIED: dict[str, tuple[str, ...]] = {}
