"""From an HTTP request to its response: documents, their cost, execution and errors."""
