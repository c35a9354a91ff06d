"""The embedded stack and the `topten` command: real servers and all processes on one machine, started by one line.

Owns how children are started, watched and stopped, what lies in the data folder, and the terminal. Must never be
imported by a service: it hands them settings through their environment and talks to them as any client does.
"""
