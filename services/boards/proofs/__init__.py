"""Proofs of places on closed boards: trees, signed heads, and pseudonyms of erased players."""
