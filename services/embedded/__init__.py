"""The embedded stack: real stores and all processes on one machine, started by `topten up`.

Owns how children are started, watched and stopped, and the data folder. Must never be imported by a process: it passes
settings to them through their environment.
"""
