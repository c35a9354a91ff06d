"""The published schema."""

from __future__ import annotations

from graphql import build_schema
from graphql.utilities import find_breaking_changes

from edge.graphql.schema import SDL_PATH, executable_schema, sdl

AGAIN = "make gen"


def test_the_committed_sdl_is_the_schema() -> None:
    assert SDL_PATH.read_text(encoding="utf-8") == sdl(), AGAIN


def test_the_committed_sdl_is_equivalent_to_the_schema() -> None:
    assert find_breaking_changes(build_schema(SDL_PATH.read_text(encoding="utf-8")), executable_schema()) == []


def test_the_published_names_are_there() -> None:
    published = build_schema(
        """
        type Query { getLeaderboard: [LeaderboardEntry] quiz(id: ID!): Quiz me: Me quizzes(first: Int! = 20): QuizConnection }
        type LeaderboardEntry { userId: ID! username: String! score: Int! rank: Int! }
        type Me { userId: ID! username: String! country: String roles: [String!]! score: Int }
        type Quiz { id: ID! title: String! description: String! tags: [String!]! }
        type QuizConnection { totalCount: Int! }
        type Mutation {
          submitQuizAction(input: QuizActionInput!): QuizSubmissionResult
          logout(refreshToken: String = null): Boolean
        }
        input QuizActionInput { quizId: ID! actionId: ID! answers: [AnswerInput!]! timestamp: DateTime! }
        input AnswerInput { questionId: ID! selectedOption: ID! }
        type QuizSubmissionResult { success: Boolean! message: String! }
        scalar DateTime
        """
    )
    assert find_breaking_changes(published, executable_schema()) == []
