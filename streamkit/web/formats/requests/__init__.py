"""Read what clients send: bodies of requests become messages, decisions and parameters."""
