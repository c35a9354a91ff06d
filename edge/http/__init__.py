"""The HTTP server of the edge: routes, authentication, sessions, cookies and problems."""
