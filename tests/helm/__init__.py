"""The chart and the image, offline: rendered by Helm's own library and run as local processes."""
