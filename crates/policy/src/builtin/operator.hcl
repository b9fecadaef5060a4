# The role operator: whoever runs the applications. Works with the secrets of all engines, and sets engines up; changes
# nothing about who may do what.

# Every secrets engine, whatever path it is mounted at. Paths that need sudo stay closed.
path "*" {
    capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

# Of the system only what follows. Empty lists close a path and leave it to other policies to open it.
path "sys/*" {
    capabilities = []
}

# Mounts engines and tunes them. Removing one destroys all secrets in it, and is left to admins.
path "sys/mounts" {
    capabilities = ["read"]
}
path "sys/mounts/*" {
    capabilities = ["create", "read", "update"]
}
path "sys/internal/ui/mounts" {
    capabilities = ["read"]
}
path "sys/internal/ui/mounts/*" {
    capabilities = ["read"]
}

# Ends leases one by one; ends many at once only with sudo, which it has not.
path "sys/revoke" {
    capabilities = ["update"]
}
path "sys/leases/revoke" {
    capabilities = ["update"]
}

# Reads policies, to see what applications may do, and which auth methods there are.
path "sys/policies/acl" {
    capabilities = ["list"]
}
path "sys/policies/acl/*" {
    capabilities = ["read"]
}
path "sys/auth" {
    capabilities = ["read"]
}

# Who comes in, and with which policies, is not the operator's: roles of auth methods hand policies out.
path "auth/*" {
    capabilities = []
}
path "identity/*" {
    capabilities = []
}

# Makes tokens for applications. They can have no policy that the operator's own token has not.
path "auth/token/create" {
    capabilities = ["create", "update"]
}
