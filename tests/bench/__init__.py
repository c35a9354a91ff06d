"""Measurements: each figure beside the cost of the raw stores in the same run. `make bench` prints all of them."""
