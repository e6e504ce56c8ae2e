"""Layers around the sum, one file each: a new one is found by the plan reader and by the law tests."""
