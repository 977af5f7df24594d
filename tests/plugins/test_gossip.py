"""EBT between whole stacks over memory streams."""

from __future__ import annotations

from pathlib import Path

from tests.plugins.machines import Machine, connect
from tests.storage.feedmaker import feed_of, keys_of, raws


async def test_a_fresh_peer_fetches_a_feed_and_hears_what_is_published_after(tmp_path: Path) -> None:
    anna = Machine(tmp_path / "anna", 1)
    bert = Machine(tmp_path / "bert", 2, [keys_of(1).id])
    for number in range(20):
        await anna.store.author.publish({"type": "post", "text": str(number)})
    await connect(bert, anna)
    await bert.until(lambda: bert.sequence(anna.keys.id) == 20)
    await anna.store.author.publish({"type": "post", "text": "live"})
    await bert.until(lambda: bert.sequence(anna.keys.id) == 21)
    assert [m.raw for m in bert.store.log.read_feed(anna.keys.id)] == [
        m.raw for m in anna.store.log.read_feed(anna.keys.id)
    ]
    await bert.close()
    await anna.close()


async def test_a_chain_of_three_carries_both_ways(tmp_path: Path) -> None:
    feeds = [keys_of(n).id for n in (1, 2, 3)]
    machines = [Machine(tmp_path / str(n), n, feeds) for n in (1, 2, 3)]
    await machines[0].store.ingest.add(raws(feed_of(1)), "test")
    await machines[2].store.ingest.add(raws(feed_of(3)), "test")
    await connect(machines[0], machines[1])
    await connect(machines[1], machines[2])
    for machine in machines:
        await machine.until(lambda m=machine: m.sequence(feeds[0]) == 40 and m.sequence(feeds[2]) == 40)
    for machine in machines:
        await machine.close()
