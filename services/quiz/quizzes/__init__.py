"""Quizzes, their versions and terms, and how answers to them are marked."""
