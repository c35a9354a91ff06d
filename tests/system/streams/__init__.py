"""Streams and watches: frames, subscriptions, sessions and several instances."""
