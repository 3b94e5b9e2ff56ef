"""The border to the API server, on raw dictionaries: the only package that imports `kubernetes`."""
