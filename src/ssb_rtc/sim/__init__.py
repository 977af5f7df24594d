"""A simulator: many unmodified state managers, hubs, links and feeds in virtual time, from one seed. No I/O."""
