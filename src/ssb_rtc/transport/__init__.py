"""Ways to reach a peer, behind one small interface; listeners start and stop at run time."""
