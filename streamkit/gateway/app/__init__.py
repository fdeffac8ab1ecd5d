"""The gateway as a WSGI application."""
