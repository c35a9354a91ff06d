"""Pictures of every screen, taken in a real Chromium of a system with simulated players."""
