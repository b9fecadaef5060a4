"""Runs the cases of all areas against a layer that standard input describes, and says what failed.

Arguments choose areas or single cases: `listings`, `versions.a_delete_leaves_a_marker`.
"""

import concurrent.futures
import importlib
import json
import pathlib
import sys
import time
import traceback

from case import ALL
from world import World

# Most of a case is waiting for the layer, and a layer has many clients.
AT_ONCE = 4
NO_AREAS = {"run", "case", "world"}


def main():
    wanted = sys.argv[1:]
    world = World(json.load(sys.stdin))
    here = pathlib.Path(__file__).parent
    for path in sorted(here.glob("*.py")):
        if path.stem not in NO_AREAS:
            importlib.import_module(path.stem)
    cases = [case for case in ALL if not wanted or any(case.area == want or case.name.startswith(want) for want in wanted)]
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        outcomes = list(threads.map(lambda case: outcome(world, case), cases))
    failed = [(case, failure) for case, (failure, _) in zip(cases, outcomes) if failure]
    for case, failure in failed:
        print(f"FAILED {case.name}\n{failure}")
    slowest = sorted(zip(cases, outcomes), key=lambda pair: -pair[1][1])[:3]
    print("slowest:", ", ".join(f"{case.name} {seconds:.1f} s" for case, (_, seconds) in slowest))
    print(f"{len(cases)} cases, {len(failed)} failed, in {time.monotonic() - started:.1f} s")
    sys.exit(1 if failed or not cases else 0)


def outcome(world, case):
    """How a case failed, if it did, and how long it took."""
    started = time.monotonic()
    failure = None
    try:
        case.run(world)
    except Exception as error:  # Whatever it is, it is this case's failure.
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{pathlib.Path(f.filename).name}:{f.lineno} {f.line}" for f in frames if "/s3/" in f.filename]
        failure = "  " + "\n  ".join(places[1:]) + f"\n  {type(error).__name__}: {error}"
    return failure, time.monotonic() - started


if __name__ == "__main__":
    main()
