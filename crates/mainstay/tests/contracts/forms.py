"""The forms that a binding comes in: each read back into its keys and values, as an application would."""

import json
import os
import shlex
import subprocess
import sys

TELL = """
import json, os
print(json.dumps(dict(os.environ)))
"""


def of_every_form(target):
    """What an application finds in each form, by its name. JSON is the form of what a target was given."""
    uri = target.world.run("bind", target.instance, "--consumer", "uri", "--format", "uri").strip()
    return {
        "--format env": from_env(target),
        "--format dir": from_dir(target),
        "--format uri": {**target.given, "uri": uri},
    }


def from_env(target):
    text = target.world.run("bind", target.instance, "--consumer", "env", "--format", "env")
    # What is safe for `eval` is read by a shell.
    return keys_of(target, environment_after(text))


def from_dir(target):
    folder = target.world.folder()
    target.world.run("bind", target.instance, "--consumer", "dir", "--format", "dir", "--out", folder)
    return read(os.path.join(folder, target.instance))


def in_a_run(target, script, *arguments):
    """What a program prints that finds its binding in the environment and, as files, in SERVICE_BINDING_ROOT.

    The script is Python, and has `given`, the keys and values from the environment, which are those of the files too.
    """
    prelude = (
        "import json, os, pathlib, sys\n"
        f"prefix = {prefix(target)!r}\n"
        "given = {k[len(prefix):].lower().replace('_', '-'): v for k, v in os.environ.items() if k.startswith(prefix)}\n"
        f"files = pathlib.Path(os.environ['SERVICE_BINDING_ROOT'], {target.instance!r})\n"
        "assert given == {file.name: file.read_text() for file in files.iterdir() if file.is_file()}, 'both forms are the same'\n"
    )
    run = ["run", "--bind", target.instance, "--", sys.executable, "-c", prelude + script, *arguments]
    return target.world.run(*run, PYTHONDONTWRITEBYTECODE="1").strip()


def read(folder):
    """Keys and values of a folder of the Service Binding specification."""
    values = {}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path) as file:
                values[name] = file.read()
    return values


def prefix(target):
    return target.instance.upper().replace("-", "_") + "_"


def keys_of(target, environment):
    start = prefix(target)
    return {name[len(start) :].lower().replace("_", "-"): value for name, value in environment.items() if name.startswith(start)}


def environment_after(text):
    script = f"set -a; eval {shlex.quote(text)}; exec {shlex.quote(sys.executable)} -c {shlex.quote(TELL)}"
    ran = subprocess.run(["/bin/sh", "-c", script], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)
