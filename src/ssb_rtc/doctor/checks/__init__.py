"""The checks: each looks, and judges what it saw."""
