"""Lists of models, and prices."""
