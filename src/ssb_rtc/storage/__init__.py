"""One SQLite file a peer, the secret file, and what is kept between runs."""
