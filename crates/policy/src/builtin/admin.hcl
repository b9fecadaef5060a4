# The role admin: everything in its tenant's namespace, and nothing beyond it.
path "*" {
    capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]
}
