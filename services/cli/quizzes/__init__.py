"""Quizzes of a running system: imported, exported, judged again."""
