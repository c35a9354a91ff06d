"""The `topten` command, on a laptop and in production.

`commands` declares names, options and help; the other modules do the work and are imported when a command runs, so that
`topten --help` loads no driver. Talks to a running system as any client does: GraphQL, the stream, and gRPC with the
operator's token.
"""
