"""GraphQL over HTTP: the schema, its limits, and the way from a document to calls of the services."""
