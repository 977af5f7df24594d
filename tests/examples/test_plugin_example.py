"""The example of a plugin in a package of its own: installed, loaded by name, called from here and from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ssb_rtc import Peer, RemoteCallError
from ssb_rtc.peer import connect_local
from tests.e2e.processes import run, run_ok, running
from tests.examples.packages import install

PACKAGE = Path(__file__).resolve().parents[2] / "examples" / "plugin"


async def test_the_plugin_of_another_package_serves_its_owner_and_what_it_permits_to_others(tmp_path: Path) -> None:
    install(PACKAGE, tmp_path / "packages")
    env = {"PYTHONPATH": str(tmp_path / "packages")}
    path = ["--path", str(tmp_path / "peer")]
    row = {"name": "greeting", "package": "ssb-rtc-greeting", "version": "1.0.0", "loaded": False}
    assert (await run_ok("plugins", "--json", *path, env=env)).json == [row]
    async with running(tmp_path, "start", "--net", "0", "--plugin", "greeting", *path, env=env) as started:
        assert (await run_ok("plugins", "--json", *path)).json == [row | {"loaded": True}]
        own = started.ready["id"]
        local = await connect_local(tmp_path / "peer")
        assert await local.call("greeting.write", "good morning") is True
        assert await local.call("greeting.hello") == {"from": own, "to": own, "text": "good morning"}
        with pytest.raises(RemoteCallError, match=r"greeting\.write takes a text of at most 1000 characters"):
            await local.call("greeting.write", ["no text"])
        await local.close()

        async with Peer(tmp_path / "other") as other:
            link = await other.connect(started.ready["addresses"][0])
            assert await link.call("greeting.hello") == {"from": own, "to": other.id, "text": "good morning"}
            with pytest.raises(RemoteCallError, match="method:greeting,write is not in list of allowed methods"):
                await link.call("greeting.write", "rubbish")
            assert (await link.call("greeting.hello"))["text"] == "good morning"


async def test_a_plugin_that_fails_at_its_start_is_named_with_its_package(tmp_path: Path) -> None:
    install(PACKAGE, tmp_path / "site")
    for module in (tmp_path / "site").glob("*.py"):
        text = module.read_text(encoding="utf-8")
        module.write_text(re.sub(r"( +)(def init\(.*\n)", r"\1\2\1    raise OSError('no such device')\n", text))
    env = {"PYTHONPATH": str(tmp_path / "site")}
    done = await run("start", "--net", "0", "--plugin", "greeting", "--path", str(tmp_path / "peer"), env=env)
    assert done.code == 2
    says = "ssb-rtc: the plugin 'greeting' of [a-z-]+ can't be loaded: OSError: no such device. Mend the package"
    assert re.search(says, done.err)
    assert "Traceback" not in done.err


async def test_a_plugin_that_is_not_installed_is_named(tmp_path: Path) -> None:
    done = await run("start", "--plugin", "greeting", "--path", str(tmp_path / "peer"))
    assert done.code == 2
    assert "there is no plugin 'greeting': install the package that has it" in done.err
    shown = await run_ok("plugins", "--path", str(tmp_path / "peer"))
    assert shown.out == "no installed package has a plugin\n"
