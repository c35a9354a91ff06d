"""Commands for a system on this machine: start it, look at it, try it."""
