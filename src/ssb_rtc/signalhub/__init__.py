"""The client of signalhubs, and the signalling dialects that run over them."""
