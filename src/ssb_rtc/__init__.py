"""A Secure Scuttlebutt peer that meets others on signalhubs and gossips with them over WebRTC."""

__version__ = "0.1.0"
