"""Quizzes: read, played, written and judged again, and actions of other types."""
