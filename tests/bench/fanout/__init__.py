"""Fan-out: one frame to many streams, at what cost; this edge, nchan in nginx, and a bare loop of send() in C."""
