"""Proofs of places on closed boards: trees, signed heads, and what stands for an erased player."""
