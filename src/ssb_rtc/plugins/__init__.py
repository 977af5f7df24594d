"""What a link can do: replication, local control. Secret-stack style."""
