"""Runs the cases of one contract against a layer that standard input describes, and says what failed.

The first argument is the contract's folder, and further ones choose areas or single cases: `redis_v1`,
`amqp_v1 queues messages.a_rejected_message_is_delivered_again`.
"""

import asyncio
import concurrent.futures
import importlib
import inspect
import json
import pathlib
import sys
import time
import traceback

from case import ALL
from world import World

# Most of a case is waiting for an engine, and an engine has many clients.
AT_ONCE = 4


def main():
    contract, *wanted = sys.argv[1:]
    world = World(json.load(sys.stdin))
    here = pathlib.Path(__file__).parent / contract
    sys.path.insert(0, str(here))
    for path in sorted(here.glob("*.py")):
        importlib.import_module(path.stem)
    chosen = [case for case in ALL if not wanted or any(case.area == want or case.name.startswith(want) for want in wanted)]
    runs = [(case, target) for case in chosen for target in world.targets if case.where(target)]
    runs.sort(key=lambda run: run[0].alone)
    beside = [run for run in runs if not run[0].alone]
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        outcomes = list(threads.map(lambda run: outcome(*run), beside))
    outcomes += [outcome(*run) for run in runs[len(beside) :]]
    names = [f"{case.name} on {target}" for case, target in runs]
    unused = {case.name for case in chosen} - {case.name for case, _ in runs}
    failed = [(name, failure) for name, (failure, _) in zip(names, outcomes) if failure]
    failed += [(name, "  no target promises what it is about") for name in sorted(unused)]
    for name, failure in failed:
        print(f"FAILED {name}\n{failure}")
    slowest = sorted(zip(names, outcomes), key=lambda pair: -pair[1][1])[:3]
    print("slowest:", ", ".join(f"{name} {seconds:.1f} s" for name, (_, seconds) in slowest))
    print(f"{len(runs)} cases, {len(failed)} failed, in {time.monotonic() - started:.1f} s")
    sys.exit(1 if failed or not runs else 0)


def outcome(case, target):
    """How a case failed, if it did, and how long it took."""
    started = time.monotonic()
    failure = None
    try:
        result = case.function(target)
        if inspect.isawaitable(result):
            asyncio.run(result)
    except Exception as error:  # Whatever it is, it is this case's failure.
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{pathlib.Path(f.filename).name}:{f.lineno} {f.line}" for f in frames if "/contracts/" in f.filename]
        failure = "  " + "\n  ".join(places[1:]) + f"\n  {type(error).__name__}: {error}"
    return failure, time.monotonic() - started


if __name__ == "__main__":
    main()
