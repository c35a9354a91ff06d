"""Commands for what a system has: players, quizzes, boards, groups, rooms and clients."""
