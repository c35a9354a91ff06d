"""Watching boards: live frames and player ranks, throttled and in order."""
