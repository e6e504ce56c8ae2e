"""Proofs about vectors that nobody sees: commitments, an L2 bound, a sum that must match. EXPERIMENTAL, unreviewed."""
