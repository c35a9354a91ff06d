"""The sub-commands of `topten`, one module each; `cli` puts them together."""
