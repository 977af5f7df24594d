"""Signed feeds: identities, canonical JSON, messages, validation, replication state. No I/O."""
