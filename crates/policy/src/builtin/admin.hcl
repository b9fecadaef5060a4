# The role admin: everything in its tenant's namespace, and nothing beyond it.
path "*" {
    capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]
}

# The default policy has this path exactly, which counts before any pattern: what is said of it here is added to that.
path "sys/leases/lookup" {
    capabilities = ["create", "read", "update", "list", "sudo"]
}
