"""A pytest plugin: brings the layer to where a new Vault server begins, which has nothing mounted at secret/.

A new tenant of ours has a KV store of version 2 there, as `vault server -dev` has. Some tests mount version 1 themselves
where they find nothing.
"""

from tests.utils.server_manager import ServerManager

unseal = ServerManager.unseal


def unseal_and_empty(manager):
    unseal(manager)
    if not getattr(manager, "is_emptied", False):
        manager.client.sys.disable_secrets_engine("secret")
        manager.is_emptied = True


ServerManager.unseal = unseal_and_empty
