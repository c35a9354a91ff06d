"""The edge: the only process that clients talk to. GraphQL for questions and actions, SSE for boards that move.

It owns HTTP, cookies, what one document may cost, and the fan-out of frames. It holds no state that another edge would
miss, decides nothing about scores, and believes no client: every service checks the caller's token again.
"""
