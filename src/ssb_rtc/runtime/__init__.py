"""The driver: takes actions, steps the manager, starts its effects."""
