"""Action types: the actions other than answers to quizzes, the points that they earn, and how they are reported."""
