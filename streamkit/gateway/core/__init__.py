"""Tokens, money and rules. This folder knows no HTTP and nothing of providers; it needs SQLAlchemy: import it late."""
