"""Budgets that are kept: one for each data holder and purpose, from which everything that leaves is drawn first."""
