"""Reading requests and writing answers: bodies, parameters, streams; `headers` has the headers."""
