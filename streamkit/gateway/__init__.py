"""A gateway: one address for models of many providers, with tokens, balances and a ledger."""
