"""The dashboard: a page on this machine that shows a running peer live and acts for its owner.

A face and nothing more: what it shows and does goes over a local muxrpc link, as the command line's does. Who may use
it is decided in `keyring` (tokens, sessions) and `guard` (which requests are the page's own).
"""
