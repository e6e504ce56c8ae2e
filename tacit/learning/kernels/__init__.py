"""Fused kernels for built-in models, compiled by Numba and cached."""
