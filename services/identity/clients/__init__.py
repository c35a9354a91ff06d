"""Clients that exchange a secret for a service token: those of the settings, and those added at runtime."""
