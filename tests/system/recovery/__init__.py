"""Recovery: processes that die, stores that fail or come back different, backups, wrong clocks."""
