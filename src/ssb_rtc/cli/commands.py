"""The table of commands, and the parser that is made from it.

Nothing heavy is imported here: each command names the function that carries it out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import ssb_rtc
from ssb_rtc.cli import arguments, flags
from ssb_rtc.cli.exits import USAGE


class Parser(argparse.ArgumentParser):
    """One that says where the whole usage stands."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with code 2."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}; `{self.prog} --help` shows what it takes\n")


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table of commands."""

    name: str
    help: str
    run: str
    """`module:function` under ssb_rtc.cli; called with the parsed arguments, returns an exit code."""
    examples: tuple[str, ...]
    arguments: Callable[[Parser], None] = lambda _parser: None
    json: bool = True
    """Prints data, so it takes --json."""
    settings: tuple[str, ...] = ()
    """The settings that it takes as flags."""


NETWORK = (
    "hub", "allow_http", "net", "ws", "tls_cert", "tls_key", "host", "lan", "with_hub", "stun", "turn", "relay_only",
    "relay_strangers", "rtc_backend", "hops", "peers_max", "strangers_max", "lifetime", "learnt_hubs_max",
    "introducers", "storage_max", "first_sync_max", "sympathy", "blob_max", "blob_quota", "log", "log_level",
    "metrics", "dashboard", "trace", "plugin", "network_key", "hmac_key",
)  # fmt: skip
OFFLINE = ("network_key", "hmac_key")
EXAMINED = (
    "hub", "allow_http", "stun", "turn", "relay_only", "rtc_backend", "storage_max", "peers_max", "network_key",
)  # fmt: skip

COMMANDS: tuple[Command, ...] = (
    Command(
        "init", "make an identity", "identity:init",
        ("ssb-rtc init", "ssb-rtc init --secret ~/backup/secret"), arguments.init,
    ),
    Command("whoami", "print our id", "identity:whoami", ("ssb-rtc whoami",)),
    Command(
        "name", "show how we call ourselves, or tell everybody", "names:name",
        ("ssb-rtc name", "ssb-rtc name 'Ann of the hills'"), arguments.name, settings=OFFLINE,
    ),
    Command(
        "start", "run the peer until interrupted", "start:start",
        ("ssb-rtc start --hub https://hub.example.org", "ssb-rtc start --net 0 --with-hub 8000"), arguments.start,
        settings=NETWORK,
    ),
    Command(
        "publish", "write a message to our feed", "feed:publish",
        ("ssb-rtc publish 'hello'", "ssb-rtc publish 'only for you' --to @...=.ed25519", "date | ssb-rtc publish -"),
        arguments.publish, settings=OFFLINE,
    ),
    Command(
        "follow", "fetch and serve somebody's feed", "friends:follow",
        ("ssb-rtc follow @...=.ed25519", "ssb-rtc follow @...=.ed25519 --undo"), arguments.follow, settings=OFFLINE,
    ),
    Command(
        "block", "neither fetch somebody's feed nor talk to them", "friends:block",
        ("ssb-rtc block @...=.ed25519 --reason spam", "ssb-rtc block @...=.ed25519 --undo"),
        arguments.block, settings=OFFLINE,
    ),
    Command(
        "friends", "show whose feeds are within reach, and who is kept out", "friends:friends",
        ("ssb-rtc friends", "ssb-rtc friends --json"), settings=("hops",),
    ),
    Command(
        "purge", "remove feeds from the disk that are blocked or out of reach", "friends:purge",
        ("ssb-rtc purge @...=.ed25519", "ssb-rtc purge --all --compact"), arguments.purge, settings=("hops",),
    ),
    Command(
        "sync", "show what limits fetching, and agree to a large first sync", "friends:sync",
        ("ssb-rtc sync", "ssb-rtc sync --accept --wait"), arguments.sync, settings=("hops", "storage_max"),
    ),
    Command(
        "log", "print the messages that we hold", "feed:log",
        ("ssb-rtc log --newest --limit 10", "ssb-rtc log --author @...=.ed25519 --json", "ssb-rtc log --follow"),
        arguments.log,
        settings=OFFLINE,
    ),
    Command(
        "import", "take in messages from a file", "feed:import_",
        ("ssb-rtc import feed.jsonl",), arguments.file, settings=OFFLINE,
    ),
    Command(
        "index", "show the indexes over the messages, or make them anew", "index:index",
        ("ssb-rtc index", "ssb-rtc index --rebuild"), arguments.index,
    ),
    Command("export", "print every message as a JSON line", "feed:export", ("ssb-rtc export > backup.jsonl",)),
    Command(
        "validate", "check the messages in a file; needs no identity", "validate:validate",
        ("ssb-rtc validate feed.jsonl",), arguments.validate, json=False, settings=("hmac_key",),
    ),
    Command(
        "blobs", "store files, fetch them from peers, and offer them to peers", "blobs:blobs",
        ("ssb-rtc blobs add photo.jpg", "ssb-rtc blobs want '&...=.sha256' --timeout 60",
         "ssb-rtc blobs get '&...=.sha256' -o photo.jpg", "ssb-rtc blobs ls --json"),
        arguments.blobs, settings=("blob_max", "blob_quota"),
    ),
    Command(
        "peers", "show the peers of the running peer", "network:peers",
        ("ssb-rtc peers --all", "ssb-rtc peers --why @6kps"), arguments.peers,
    ),
    Command(
        "connect", "connect the running peer to an address", "network:connect",
        ("ssb-rtc connect net:192.0.2.7:8008~shs:...=", "ssb-rtc connect --pin rtc:hub.example.org~shs:...="),
        arguments.connect,
    ),
    Command(
        "listen", "show where peers can reach us, or listen at one more place", "network:listen",
        ("ssb-rtc listen", "ssb-rtc listen net:8008", "ssb-rtc listen ws:0.0.0.0:8989"), arguments.listen,
    ),
    Command(
        "unlisten", "stop listening at a place", "network:unlisten",
        ("ssb-rtc unlisten ws:0.0.0.0:8989",), arguments.unlisten,
    ),
    Command(
        "disconnect", "end the link to a peer, and unpin it", "network:disconnect",
        ("ssb-rtc disconnect @...=.ed25519",), arguments.disconnect,
    ),
    Command(
        "hubs", "list, add, remove or recommend signalhubs", "network:hubs",
        ("ssb-rtc hubs", "ssb-rtc hubs add https://hub.example.org", "ssb-rtc hubs remove https://hub.example.org",
         "ssb-rtc hubs add https://hub.example.net --private", "ssb-rtc hubs --why https://hub.example.org",
         "ssb-rtc hubs publish https://hub.example.org"),
        arguments.hubs, settings=("allow_http",),
    ),
    Command(
        "share", "invite a friend: print a code to send by chat, and its QR code", "welcome:share",
        ("ssb-rtc share", "ssb-rtc share --uses 5 --days 2 --note 'the choir' --svg code.svg", "ssb-rtc share list",
         "ssb-rtc share revoke 1a2b3c4d"),
        arguments.share, settings=("hub", "allow_http", "network_key", "hmac_key"),
    ),
    Command(
        "join", "use a friend's invitation: follow each other", "welcome:join",
        ("ssb-rtc join ssbjoin1...", "ssb-rtc join"),
        arguments.join, settings=("allow_http", "network_key", "hmac_key"),
    ),
    Command(
        "invite", "as npm ssb-invite: codes for who can reach our --net or --ws port", "invite:invite",
        ("ssb-rtc invite create --uses 5 --external peer.example.org", "ssb-rtc invite accept CODE"), arguments.invite,
    ),
    Command(
        "status", "show who we are, what we hold, and whom we are linked to", "network:status",
        ("ssb-rtc status --json", "ssb-rtc status --watch"), arguments.status,
    ),
    Command(
        "dashboard", "print a fresh address of the running peer's dashboard", "dashboard:dashboard",
        ("ssb-rtc dashboard", "ssb-rtc dashboard --json"),
    ),
    Command(
        "doctor", "look for what does not work here, and say what to do about it; changes nothing", "doctor:doctor",
        ("ssb-rtc doctor", "ssb-rtc doctor --hub https://hub.example.org --stun stun.example.org:3478",
         "ssb-rtc doctor --json"),
        settings=EXAMINED,
    ),
    Command(
        "trace", "follow what the peers state manager hears and orders, and why", "trace:trace",
        ("ssb-rtc trace", "ssb-rtc trace --peer @6kps",
         "ssb-rtc trace --json | grep SCHEDULE_CONNECT", "ssb-rtc trace --replay trace.jsonl"), arguments.trace,
    ),
    Command(
        "config", "show the settings in force and where each came from, or make a file of them", "settings:show",
        ("ssb-rtc config", "ssb-rtc config --json", "ssb-rtc config --template"), arguments.config, settings=NETWORK,
    ),
    Command(
        "plugins", "list the plugins of installed packages, and which the running peer has loaded", "plugins:plugins",
        ("ssb-rtc plugins", "ssb-rtc plugins --json"),
    ),
    Command(
        "hub", "run a signalhub for others", "hub:hub",
        ("ssb-rtc hub serve --host 0.0.0.0 --port 8000",
         "ssb-rtc hub serve --trusted-proxy 127.0.0.1 --broker redis://127.0.0.1:6379"),
        arguments.hub, json=False,
    ),
    Command(
        "demo", "a hub and two peers on this machine gossip a feed over WebRTC", "demo:demo",
        ("ssb-rtc demo", "ssb-rtc demo --once --json --messages 1000"), arguments.demo, settings=("rtc_backend",),
    ),
    Command(
        "completion", "print what completes this command in a shell", "completion:completion",
        ("ssb-rtc completion bash > ~/.local/share/bash-completion/completions/ssb-rtc",
         "ssb-rtc completion zsh > ~/.zfunc/_ssb-rtc",
         "ssb-rtc completion fish > ~/.config/fish/completions/ssb-rtc.fish"),
        arguments.completion, json=False,
    ),
    Command(
        "simulate", "try the state manager in a simulated world, from a seed", "simulate:simulate",
        ("ssb-rtc simulate --peers 300 --hubs 5 --seed 1", "ssb-rtc simulate --scenario faults --seeds 100",
         "ssb-rtc simulate --scenario partition --plot run.svg", "ssb-rtc simulate --list"),
        arguments.simulate,
    ),
)  # fmt: skip


def build_parser() -> Parser:
    """The whole command line, from the tables."""
    parser = Parser(
        prog="ssb-rtc",
        description=ssb_rtc.__doc__,
        epilog="To begin: `ssb-rtc start`; then, in another terminal, `ssb-rtc share` for a friend, or "
        "`ssb-rtc join CODE` with a friend's code. `ssb-rtc COMMAND --help` shows a command's flags and examples.",
    )
    parser.add_argument("--version", action="version", version=f"ssb-rtc {ssb_rtc.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=command.help[0].upper() + command.help[1:] + ".",
            epilog="examples:\n" + "\n".join(f"  {line}" for line in command.examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(sub)
        if command.name not in {"validate", "hub", "demo", "completion", "simulate"}:
            flags.add_path(sub)
        if command.json:
            sub.add_argument("--json", action="store_true", help="print JSON, for programs")
        flags.add_settings(sub, command.settings)
        sub.set_defaults(run=command.run)
    return parser
