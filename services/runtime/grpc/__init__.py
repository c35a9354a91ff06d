"""gRPC as every process serves and calls it: one chain around handlers, one way to make a call."""
