"""The model `demo/assistant`: it calls tools and fills JSON schemas by rules, without a key.

It reads a request (`turn`), looks which tools fit the prompt (`fitting`, `planning`), makes arguments and JSON from
the facts in the text (`facts`, `wants`, `filling`, `inventing`), and tells what came of the calls (`results`).
"""
