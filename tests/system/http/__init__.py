"""GraphQL over HTTP, sessions, documents, and clients that misbehave."""
