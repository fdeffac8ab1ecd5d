"""The command line, one file for each command.

It is a user of the package like any other: what is in this folder goes through the public names, and knows
no provider and no wire format. It opens nothing and starts nothing on import. rich is for terminals only and
imported only there; a pipe gets the model's words and not a byte more. ``markdown``,
``markdown_screen`` and ``region`` draw an answer on a terminal. ``starting`` starts answers with the tools and
the schema of the command line, and ``approval`` asks before each call.
"""
