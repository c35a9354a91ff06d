"""Players and rooms that show a system at work, or test it."""
