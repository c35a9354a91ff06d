"""The cost of a frame to many streams: this edge, nchan in nginx, and a loop of send() in C."""
