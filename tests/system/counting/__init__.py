"""Counting: the stream, its consumers, workers, and the accounting of what was accepted."""
