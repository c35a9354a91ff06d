"""The load plan: five profiles of traffic against a whole system, and one report of what it did to players and processes."""
