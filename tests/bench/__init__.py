"""Measurements: each figure beside what the raw stores cost in the same run. `make bench` prints them all."""
