"""Attempts to break what tacit promises, one file each: a new one is found by the table and by the law tests."""
