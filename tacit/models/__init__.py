"""Recommenders and tabular scorers, one file each: pure functions of their parameters."""
