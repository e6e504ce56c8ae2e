"""Combining updates (n, d) -> (d,), one rule per file."""
