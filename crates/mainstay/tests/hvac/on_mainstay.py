"""A pytest plugin that runs hvac's integration tests against the layer.

It leaves out what `not-applicable.txt` names, and refuses a name there that means nothing any more. And it brings the layer
to where a new Vault server begins, which has nothing mounted at secret/: a new tenant of ours has a KV store of version 2
there, as `vault server -dev` has, and some tests mount version 1 themselves where they find nothing.
"""

import pathlib

import pytest

LIST = pathlib.Path(__file__).with_name("not-applicable.txt")


def not_applicable():
    lines = (line.strip() for line in LIST.read_text().splitlines())
    return {"tests/integration_tests/" + line for line in lines if line and not line.startswith("#")}


def pytest_ignore_collect(collection_path, config):
    path = collection_path.relative_to(config.rootpath).as_posix()
    return True if path in not_applicable() else None


def pytest_collection_modifyitems(config, items):
    names = not_applicable()
    left_out = [item for item in items if item.nodeid in names]
    items[:] = [item for item in items if item.nodeid not in names]
    config.hook.pytest_deselected(items=left_out)
    unknown = {name for name in names if not (config.rootpath / name).exists()} - {item.nodeid for item in left_out}
    if unknown:
        raise pytest.UsageError(f"{LIST.name} names what hvac does not have: {sorted(unknown)}")


def pytest_configure():
    from tests.utils.server_manager import ServerManager

    unseal = ServerManager.unseal

    def unseal_and_empty(manager):
        unseal(manager)
        if not getattr(manager, "is_emptied", False):
            manager.client.sys.disable_secrets_engine("secret")
            manager.is_emptied = True

    ServerManager.unseal = unseal_and_empty
