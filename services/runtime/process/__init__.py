"""The process: how it starts, runs, rests and stops, and what it tells operators."""
