"""Webhooks: facts, deliveries and their receivers."""
