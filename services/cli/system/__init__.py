"""The running system that a command talks to: found, started, called and watched."""
