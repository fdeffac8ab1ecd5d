"""Call three slow functions at once, hear of their progress, and stop them.

``parallel=3`` runs up to three calls of one reply in threads. Results come in the order of the calls; reports come at
once, and the model is not told them. A function that waits on ``context.stop`` ends with the run.
"""

import time

from streamkit import Client, ToolContext

DISTANCES = {"Oslo": 1, "Rome": 2, "Cairo": 3}


def measure(city: str, context: ToolContext) -> str:
    """Measure the temperature of a city; takes a while."""
    for step in range(DISTANCES[city]):
        context.report(f"step {step + 1} of {DISTANCES[city]}")
        if context.stop.wait(0.4):  # in place of time.sleep(0.4)
            return "stopped"
    return f"{20 - 5 * DISTANCES[city]} degrees"


def city_of(arguments: dict[str, str] | None) -> str:
    return arguments["city"] if arguments else "?"


with Client() as client:
    run = client.run("demo/assistant", "Measure the temperature in Oslo, Rome and Cairo.", tools=[measure], parallel=3)
    begun, took, reports = 0.0, 0.0, 0
    for chunk in run:
        if chunk.tool_result is not None:
            begun = begun or time.monotonic()  # the first report comes when the functions begin
            reports += chunk.tool_result.preliminary
            took = time.monotonic() - begun
    print(f"functions of 0.4, 0.8 and 1.2 s took {took:.1f} s together, and reported {reports} times")
    print(run.completion.text)

    print("\nThe same, cancelled at the second report from Cairo:")
    run = client.run("demo/assistant", "Measure the temperature in Oslo and Cairo.", tools=[measure], parallel=3)
    for chunk in run:
        if chunk.tool_result is not None:
            print(f"  {chunk.tool_result.content}", "(a report)" if chunk.tool_result.preliminary else "")
            if chunk.tool_result.content == "step 2 of 3":
                run.cancel()  # any thread may, and Ctrl-C does
    print(run.status)
    for call, result in zip(run.rounds[0].tool_calls, run.completion.tool_results, strict=True):
        print(f"  {city_of(call.arguments)}: {result.state}")
