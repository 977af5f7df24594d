"""A plugin of another package: a greeting for whoever calls.

    pip install ./examples/plugin
    ssb-rtc start --plugin greeting

Anybody with a link may call `greeting.hello`; only the peer's owner may write the greeting, with `greeting.write`.
"""

from collections.abc import Mapping
from typing import ClassVar

from ssb_rtc import Context, Handler, Link, MisuseError, PermissionLists

TEXT_MAX = 1_000


class Greeting:
    """Keeps one text in a file in the peer's folder."""

    name = "greeting"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {"greeting.hello": "async", "greeting.write": "async"}
    permissions: ClassVar[PermissionLists] = {"remote": ["greeting.hello"]}

    def init(self, context: Context) -> Mapping[str, Handler]:
        """Called once, before any link."""
        self._own = context.keys.id
        self._file = context.folder / "greeting" / "text"
        return {"greeting.hello": self._hello, "greeting.write": self._write}

    async def _hello(self, link: Link) -> dict[str, str]:
        text = self._file.read_text() if self._file.exists() else "hello"
        return {"from": self._own, "to": link.remote, "text": text}

    async def _write(self, _link: Link, text: object = None) -> bool:
        if not isinstance(text, str) or len(text) > TEXT_MAX:
            raise MisuseError(f"greeting.write takes a text of at most {TEXT_MAX} characters")
        self._file.parent.mkdir(exist_ok=True)
        self._file.write_text(text)
        return True
