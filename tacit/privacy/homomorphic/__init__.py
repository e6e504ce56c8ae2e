"""Homomorphic sums: vectors are encrypted under a key that only all parties together hold, and added as ciphertext."""
