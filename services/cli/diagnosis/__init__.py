"""The facts that `topten doctor` prints: what processes and stores report, and which of it is wrong."""
