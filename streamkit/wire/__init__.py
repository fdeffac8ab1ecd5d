"""Values of HTTP, secrets and JSON, between providers that do no I/O and a transport that knows no provider."""
