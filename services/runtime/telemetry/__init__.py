"""Logs and traces, set up once for every process."""
