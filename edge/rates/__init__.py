"""How often something may be done: by one caller, and from one address."""
