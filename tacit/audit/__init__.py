"""Ledger and reports: proof of what was done."""
