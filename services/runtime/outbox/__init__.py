"""The outbox: recorded events, kept with what they are about until they are published."""
