"""Clients of MongoDB, Redis and NATS, with their checks and metrics."""
