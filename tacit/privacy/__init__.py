"""Clip, noise, quantise, secure sums, accounting: mathematics on vectors; knows no data set and no model."""
