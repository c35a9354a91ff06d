"""Configuration: frozen dataclasses read from `TOPTEN_*` variables, and the sections that processes share."""
