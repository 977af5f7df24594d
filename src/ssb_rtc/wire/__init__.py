"""The protocols as machines without I/O: addresses, handshake, box stream, muxrpc, signalling messages."""
