"""The peers state manager: state and action in, new state and effects out. No I/O."""
