"""The load plan: five profiles of traffic against a whole system, and one report of what players and processes measured."""
