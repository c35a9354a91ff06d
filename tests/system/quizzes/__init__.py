"""Quizzes: authoring, kinds of questions, attempts, judging again, and rooms."""
