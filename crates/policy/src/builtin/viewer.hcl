# The role viewer: sees what there is, never a secret's value.

# Names of secrets, keys, roles and certificates. A list holds names and nothing else, in every engine.
path "*" {
    capabilities = ["list"]
}

# What is mounted, which policies there are and what they say.
path "sys/mounts" {
    capabilities = ["read"]
}
path "sys/internal/ui/mounts" {
    capabilities = ["read"]
}
path "sys/internal/ui/mounts/*" {
    capabilities = ["read"]
}
path "sys/auth" {
    capabilities = ["read"]
}
path "sys/policies/acl/*" {
    capabilities = ["read", "list"]
}

# Versions and times of secrets; states and public halves of keys; what roles give out. These are the engines' usual
# mounts. No pattern with + stands here on purpose: a kv mount of version 1 keeps values at any path, and so under
# metadata/ as well. For a mount elsewhere, add its own path, and only where the engine keeps no value there.
path "secret/metadata/*" {
    capabilities = ["read", "list"]
}
path "transit/keys/*" {
    capabilities = ["read", "list"]
}
path "database/roles/*" {
    capabilities = ["read", "list"]
}
path "database/static-roles/*" {
    capabilities = ["read", "list"]
}
path "pki/roles/*" {
    capabilities = ["read", "list"]
}
