"""What changes recorded actions afterwards: voids and adjustments by moderators, and judging again."""
