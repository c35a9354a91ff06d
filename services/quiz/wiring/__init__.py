"""The parts of the process, a builder per noun: each takes the settings and the parts below it."""
