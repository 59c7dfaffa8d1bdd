"""Reading requests and writing answers: headers, bodies, queries."""
