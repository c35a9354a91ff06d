"""Action types: what players may do other than answer quizzes, what that earns, and how it is reported."""
