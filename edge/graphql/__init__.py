"""GraphQL over HTTP: the schema, its limits, and the resolvers that call the services."""
