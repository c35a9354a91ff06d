"""The chart and the images, offline: rendered by Helm's own library, run as processes of this machine."""
