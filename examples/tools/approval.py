"""Ask a person on the terminal before a function is called; where there is nobody to ask, say no.

``needs_approval`` is ``True``, or a function of the arguments: here small sums need nobody. ``approve=`` is asked about
each call that needs approval, before it is made.

Type y, n, or another amount. Without a terminal the call is rejected: ``python approval.py < /dev/null``.
"""

import sys

import streamkit
from streamkit import Approved, Client, Rejected, ToolCall


@streamkit.tool(needs_approval=lambda amount, **_: amount > 10)
def refund(order: str, amount: float) -> str:
    """Refund an order.

    Args:
        order: The number of the order.
        amount: In EUR.
    """
    return f"{amount} EUR were paid back"


def ask(call: ToolCall) -> Approved | Rejected:
    if not sys.stdin.isatty():
        print(f"(nobody can be asked about {call.name}({call.raw_arguments}))")
        return Rejected("nobody is there to approve it; the shop opens at nine")
    while True:
        answer = input(f"{call.name}({call.raw_arguments}): y, n, or another amount? ").strip()
        if answer == "y":
            return Approved()
        if answer == "n":
            return Rejected("the user said no")
        try:
            return Approved({**(call.arguments or {}), "amount": float(answer)})
        except ValueError:
            print("a number, such as 12.50")


with Client() as client:
    run = client.run(
        "demo/assistant", "Refund 5 EUR for order A17 and 300 EUR for order B2", tools=[refund], approve=ask
    )
    print(run.collect())
