"""A simulator: many unmodified state managers, hubs, links and feeds in virtual time, all of it from one seed. No I/O."""
