"""``streamkit serve``: one address that speaks OpenAI's and Anthropic's formats, with tokens, balances and a ledger."""
