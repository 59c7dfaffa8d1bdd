"""The only door outside: the port to a service, its implementation over HTTP, and the services' contract."""
