"""For tests of applications: throw-away peers in one process, linked as the test wants them.

    # conftest.py
    pytest_plugins = ["ssb_rtc.testing.fixtures"]

    async def test_notes(swarm):
        alice, bob, carol = await swarm.peers("alice", "bob", "carol")
        await swarm.connect("line")
        await swarm.befriend()
        await alice.publish({"type": "post", "text": "hello"})
        await swarm.converged()

Without pytest, `async with Swarm(folder) as swarm:` is the same.
"""

from ssb_rtc.testing.clock import Clock
from ssb_rtc.testing.swarm import Swarm, keys_of
from ssb_rtc.testing.topology import Topology
from ssb_rtc.testing.waiting import NotConverged
from ssb_rtc.testing.wires import Way

__all__ = ["Clock", "NotConverged", "Swarm", "Topology", "Way", "keys_of"]
