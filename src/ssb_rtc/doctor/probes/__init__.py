"""Questions to hubs and servers: what they answer, without a judgement."""
