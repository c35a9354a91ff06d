"""Players: their accounts, groups, data and sanctions."""
