"""The server side: one package a service, and `runtime`, what every process needs.

Services never import one another; each may import `services.runtime` and the generated stubs.
"""
