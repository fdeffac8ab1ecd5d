"""Read a pack once, and open conversations from it: with variables, functions for its tools, and several customers.

The pack declares a tool; the program gives the function. Values of variables are inserted as they are, so a customer
who is called ``{{company}}`` stays so.

Run it as it is, or with the name of another model that can call tools.
"""

import sys
from pathlib import Path

from streamkit import ConfigError, load_pack, open_pack, validate_pack

model = sys.argv[1] if len(sys.argv) > 1 else "demo/assistant"
path = Path(__file__).with_name("shop.pack.json")


def find_order(number: str) -> str:
    return {"A-17": "on its way", "B-2": "delivered on Monday"}.get(number, "unknown")


print(f"problems: {validate_pack(path)}")
pack = load_pack(path, strict=True)
print(f"prompts: {', '.join(pack.prompts)}; warnings: {len(pack.warnings)}")

prompt = pack.prompts["orders"]
print(prompt.render({"company": "Boots & Co", "customer": "{{company}}"}))
print(f"for gpt-4o-mini: {prompt.parameters('openai/gpt-4o-mini')}")

for customer, question in (("Ann", "Where is order A-17?"), ("Bob", "Where is order B-2?")):
    chat = open_pack(
        pack,
        "orders",
        model=model,
        variables={"company": "Boots & Co", "customer": customer},
        tools={"find_order": find_order},
    )
    print(f"{customer}: {chat.send(question).text}")

chat = open_pack(pack, "orders", model=model)
chat.on_tool("find_order", find_order)  # as well as tools=, and as late as this
try:
    chat.send("Where is order A-17?")
except ConfigError as error:
    print(f"ConfigError: {error}")
chat.variables["company"] = "Boots & Co"  # the prompt is filled in anew for each turn
print(f"somebody: {chat.send('Where is order C-3?').text}")
