"""The edge: the only process that clients talk to. GraphQL for queries and mutations, SSE for live boards.

It owns HTTP, cookies, the cost of documents, and the fan-out of frames. It has no state that another edge would miss, decides
nothing about scores, and trusts no client: every service checks the caller's token again.
"""
