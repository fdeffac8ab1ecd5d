"""Databases: the engine, transactions and tables by version. It knows no table, and imports SQLAlchemy: import it late.

Whoever has tables makes a ``SQLDatabase`` with them: ``SQLStore``, ``SQLCache`` and the gateway.
"""
