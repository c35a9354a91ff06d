"""Rate limits of callers and addresses."""
