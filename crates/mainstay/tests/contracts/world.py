"""What the cases find: a layer, instances of a tenant and its rival, and ways to speak to them."""

import itertools
import json
import os
import subprocess
import threading
import time

# Longer than anything here takes on a machine that has much else to do.
PATIENCE_SECONDS = 30


class Target:
    """An instance, and what one binding of it gives to a consumer."""

    def __init__(self, world, told):
        self.world = world
        self.instance = told["instance"]
        self.plan = told["plan"]
        self.engine = told["engine"]
        self.parameters = told["parameters"]
        self.given = told["credentials"]

    def __str__(self):
        return self.instance

    @property
    def persists(self):
        """Whether data outlives the server."""
        return self.plan == "shared" or self.parameters.get("persistence", "cache") != "cache"

    def bind(self, consumer):
        """What one more binding gives."""
        return self.world.mainstay("bind", self.instance, "--consumer", consumer, "--format", "json")["credentials"]

    def sibling(self, **parameters):
        """A fresh instance with the same contract, plan and engine, for a case that needs it for itself."""
        return self.world.create(self.world.contract, self.plan, self.engine, parameters)


class World:
    def __init__(self, told):
        self.contract = told["contract"]
        self.program = told["program"]
        self.environment = told["environment"]
        self.scratch = told["scratch"]
        self.targets = [Target(self, target) for target in told["targets"]]
        # Another tenant's, on the same clusters.
        self.rivals = [Target(self, target) for target in told["rivals"]]
        # Such as come by TLS.
        self.encrypted = [Target(self, target) for target in told["encrypted"]]
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def name(self, what):
        """A name that no other case has."""
        with self._lock:
            return f"{what}-{next(self._numbers)}"

    def rival_of(self, target):
        """The other tenant's instance on the same plan and engine."""
        return next(rival for rival in self.rivals if (rival.plan, rival.engine) == (target.plan, target.engine))

    def run(self, *arguments, **variables):
        """Runs the command line; gives what it printed."""
        ran = subprocess.run(
            [self.program, *arguments],
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        if ran.returncode:
            raise AssertionError(f"{arguments}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def mainstay(self, *arguments):
        """The same, where it prints JSON."""
        return json.loads(self.run(*arguments))

    def create(self, contract, plan, engine, parameters):
        name = self.name("made")
        sets = [part for key, value in parameters.items() for part in ("--set", f"{key}={value}")]
        self.run("create", contract, name, "--plan", plan, "--engine", engine, *sets)
        told = self.mainstay("bind", name, "--consumer", "case", "--format", "json")
        return Target(
            self,
            {"instance": name, "plan": plan, "engine": engine, "parameters": parameters, "credentials": told["credentials"]},
        )

    def delete(self, target):
        self.run("delete", target.instance, "--yes", "--force")

    def folder(self):
        """An empty folder of a case's own."""
        path = os.path.join(self.scratch, self.name("folder"))
        os.mkdir(path)
        return path

    def certificates(self, given):
        """The file that a binding's certificates are written to."""
        path = os.path.join(self.folder(), "ca.pem")
        with open(path, "w") as file:
            file.write(given["certificates"])
        return path


def eventually(what, ask):
    """Asks until there is an answer, and gives it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"it should come true within {PATIENCE_SECONDS} s that {what}")
        time.sleep(0.01)
    return answer
