"""What is left of rooms: results, files of them, and attempts that count on boards."""
