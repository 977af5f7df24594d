"""The signalhub server."""
