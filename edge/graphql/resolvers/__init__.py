"""The schema's types and resolvers; each root field declares its access, cost and rate."""
