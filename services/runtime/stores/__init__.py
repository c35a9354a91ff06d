"""Clients of MongoDB, Redis and NATS, and what is checked and measured of each."""
