"""The command `ssb-rtc`: its table of commands, and what an error becomes.

Nothing heavy is imported at the top of this module: each command names the function that carries it out, and that
module is imported when the command runs. Exit codes: 0 done, 1 negative result, 2 usage, 3 no peer runs, 4 environment.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import ssb_rtc
from ssb_rtc import errors
from ssb_rtc.cli import flags, hub_flags, output

if TYPE_CHECKING:
    from types import FrameType

DONE, NEGATIVE, USAGE, NO_PEER, ENVIRONMENT = range(5)


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


KNOWN_FEED = "the feed, like @...=.ed25519; of one that is known here the beginning will do"


def _init(parser: Parser) -> None:
    parser.add_argument("--secret", metavar="FILE", help="take over the identity in this secret file")


def _name(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="what to be called from now on, for everybody to read")


def _start(parser: Parser) -> None:
    parser.add_argument(
        "--restored", action="store_true", help="this folder comes from a backup: write nothing until a peer answered"
    )


def _publish(parser: Parser) -> None:
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the text of a post; - reads it from standard input")
    parser.add_argument("--content", metavar="JSON", help="a whole content object instead of a post")
    parser.add_argument(
        "--to", metavar="ID", action="append", default=[], help="only this feed (and we) can read it; up to 6 times"
    )
    parser.add_argument("--durable", action="store_true", help="return only when the disk has it")
    parser.add_argument("--force", action="store_true", help="write although no peer has confirmed our latest message")


def _follow(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help=KNOWN_FEED)
    parser.add_argument("--undo", action="store_true", help="no longer follow it")


def _block(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help=KNOWN_FEED)
    parser.add_argument("--reason", metavar="TEXT", help="why, for everybody to read")
    parser.add_argument("--undo", action="store_true", help="no longer block it")


def _purge(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", nargs="*", help="a feed that we block, or that nobody near us follows")
    parser.add_argument("--all", action="store_true", help="every such feed")
    parser.add_argument("--compact", action="store_true", help="then make the file smaller; takes 10 s for a GB")


def _sync(parser: Parser) -> None:
    answers = parser.add_mutually_exclusive_group()
    answers.add_argument("--accept", action="store_true", help="fetch all feeds within --hops, however large")
    answers.add_argument("--decline", action="store_true", help="fetch only whom we follow directly")
    parser.add_argument(
        "--wait", action="store_true", help="show the progress until all is here that linked peers have (needs a peer)"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=flags.seconds, help="how long --wait waits (default: until it is done)"
    )


def _log(parser: Parser) -> None:
    parser.add_argument("--author", metavar="ID", help="only the messages of this feed")
    parser.add_argument("--limit", metavar="N", type=int, help="at most this many")
    parser.add_argument("--newest", action="store_true", help="the latest first, instead of the earliest")
    parser.add_argument("--private", action="store_true", help="only private messages that we can read")
    parser.add_argument("--follow", action="store_true", help="go on with what arrives from now on (needs a peer)")


def _index(parser: Parser) -> None:
    parser.add_argument("--rebuild", action="store_true", help="make all indexes anew from the messages")


def _file(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="JSON lines; - reads standard input")


def _validate(parser: Parser) -> None:
    _file(parser)
    parser.add_argument("--strict", action="store_true", help="follow the specification where it is narrower")


def _blobs(parser: Parser) -> None:
    actions = ("add", "get", "has", "want", "push", "ls", "rm")
    parser.add_argument("action", choices=actions, help="what to do; push offers it to peers, rm also ends a want")
    parser.add_argument("what", nargs="?", metavar="FILE|ID", help="the file to add (- is standard input), or a blob")
    parser.add_argument("-o", "--output", metavar="FILE", help="where get writes to (default: standard output)")
    parser.add_argument(
        "--timeout", metavar="S", type=flags.seconds, help="how long want waits (default: until it is here)"
    )
    parser.add_argument("--max", metavar="BYTES", type=int, help="add or want it only with fewer bytes than this")


def _peers(parser: Parser) -> None:
    parser.add_argument("--all", action="store_true", help="also those that we know of and are not linked to")
    parser.add_argument(
        "--why", metavar="PEER", help="tell why this one is connected or not; its id, or the beginning of it"
    )


def _connect(parser: Parser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="like net:HOST:PORT~shs:KEY or rtc:HUB~shs:KEY")
    parser.add_argument("--pin", action="store_true", help="keep a link with this peer from now on, until `disconnect`")


def _listen(parser: Parser) -> None:
    parser.add_argument("where", nargs="?", metavar="WHERE", help="like net:8008 or ws:0.0.0.0:8989")


def _unlisten(parser: Parser) -> None:
    parser.add_argument("where", metavar="WHERE", help="as `listen` took it, or an address that it prints")


def _invite(parser: Parser) -> None:
    parser.add_argument("action", choices=("create", "accept", "list", "revoke"), help="what to do")
    parser.add_argument(
        "code", nargs="?", metavar="CODE", help="accept: the code; revoke: the invite's id, as list shows it"
    )
    parser.add_argument("--uses", metavar="N", type=int, help="create: for so many people (default 1)")
    parser.add_argument("--days", metavar="N", type=int, help="create: for so many days (default 30)")
    parser.add_argument("--external", metavar="HOST", help="create: the name or address by which others reach us")
    parser.add_argument("--note", metavar="TEXT", help="create: stands in the public message by which we follow them")
    parser.add_argument("--modern", action="store_true", help="create: as a multiserver address, for one person")


def _share(parser: Parser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=("create", "list", "revoke"), default="create",
        help="what to do (default: create); revoke takes one back",
    )  # fmt: skip
    parser.add_argument("id", nargs="?", metavar="ID", help="revoke: the invitation's id, as list shows it")
    parser.add_argument("--uses", metavar="N", type=int, help="for so many people (default 1)")
    parser.add_argument("--days", metavar="N", type=int, help="good for so many days (default 7)")
    parser.add_argument("--note", metavar="TEXT", help="for whom it is; stands in `share list` and nowhere else")
    parser.add_argument("--svg", metavar="FILE", help="write the QR code into this file, too")


def _join(parser: Parser) -> None:
    parser.add_argument(
        "code", nargs="?", metavar="CODE", help="what `ssb-rtc share` printed for you; - reads it from standard input"
    )
    parser.add_argument("--forget", metavar="ID", help="give up the waiting invitation of this peer; or its beginning")
    parser.add_argument(
        "--wait", metavar="S", type=flags.seconds, default=60.0, help="show for so long how it goes (default 60)"
    )


def _disconnect(parser: Parser) -> None:
    parser.add_argument("peer", metavar="PEER", help="the peer's id, like @...=.ed25519, or its beginning")


def _hubs(parser: Parser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "add", "remove", "publish", "retire"),
        default="list",
        help="what to do (default: list); publish recommends a hub in our feed, retire takes that back",
    )
    parser.add_argument("url", nargs="?", metavar="URL", help="of the hub, like https://hub.example.org")
    parser.add_argument("--private", action="store_true", help="add: never tell other peers of it")
    parser.add_argument("--why", metavar="URL", help="tell why this hub is connected or not")


def _status(parser: Parser) -> None:
    parser.add_argument(
        "--watch", action="store_true", help="stay, and show what changes; on a pipe a line for each change"
    )


def _trace(parser: Parser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--peer",
        metavar="PEER",
        help="only the way to this peer, since its last attempt began; its id, or its beginning",
    )
    what.add_argument("--replay", metavar="FILE", help="run what `start --trace FILE` recorded once more, and compare")


def _config(parser: Parser) -> None:
    parser.add_argument("--template", action="store_true", help="print a settings file with everything as a comment")


def _hub(parser: Parser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    serve = actions.add_parser("serve", help="serve a signalhub until interrupted")
    hub_flags.add_serve(serve)


def _simulate(parser: Parser) -> None:
    parser.add_argument("--scenario", metavar="NAME", default="calm", help="what happens (default calm); see --list")
    parser.add_argument("--list", action="store_true", help="show the scenarios")
    parser.add_argument("--peers", metavar="N", type=int, help="so many peers instead of the scenario's number")
    parser.add_argument("--hubs", metavar="N", type=int, help="so many hubs instead of the scenario's number")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="the seed, or the first one (default 1)")
    parser.add_argument("--seeds", metavar="N", type=int, help="run so many seeds, up to the first one that fails")
    parser.add_argument("--plot", metavar="FILE", help="draw links and messages over time into this SVG file")


def _demo(parser: Parser) -> None:
    parser.add_argument("--once", action="store_true", help="end when the second peer holds everything")
    parser.add_argument("--messages", metavar="N", type=int, default=100, help="how many to write (default 100)")
    parser.add_argument("--import", dest="source", metavar="FILE", help="serve the messages of this file instead")
    parser.add_argument("--hub", dest="meet_on", metavar="URL", help="meet on this hub instead of starting one")
    parser.add_argument(
        "--timeout", metavar="S", type=flags.seconds, default=60.0, help="give up after this time (default 60)"
    )


def _completion(parser: Parser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that it is for")


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
        ("ssb-rtc init", "ssb-rtc init --secret ~/backup/secret"), _init,
    ),
    Command("whoami", "print our id", "identity:whoami", ("ssb-rtc whoami",)),
    Command(
        "name", "show how we call ourselves, or tell everybody", "names:name",
        ("ssb-rtc name", "ssb-rtc name 'Ann of the hills'"), _name, settings=OFFLINE,
    ),
    Command(
        "start", "run the peer until interrupted", "start:start",
        ("ssb-rtc start --hub https://hub.example.org", "ssb-rtc start --net 0 --with-hub 8000"), _start,
        settings=NETWORK,
    ),
    Command(
        "publish", "write a message to our feed", "feed:publish",
        ("ssb-rtc publish 'hello'", "ssb-rtc publish 'only for you' --to @...=.ed25519", "date | ssb-rtc publish -"),
        _publish, settings=OFFLINE,
    ),
    Command(
        "follow", "fetch and serve somebody's feed", "friends:follow",
        ("ssb-rtc follow @...=.ed25519", "ssb-rtc follow @...=.ed25519 --undo"), _follow, settings=OFFLINE,
    ),
    Command(
        "block", "neither fetch somebody's feed nor talk to them", "friends:block",
        ("ssb-rtc block @...=.ed25519 --reason spam", "ssb-rtc block @...=.ed25519 --undo"), _block, settings=OFFLINE,
    ),
    Command(
        "friends", "show whose feeds are within reach, and who is kept out", "friends:friends",
        ("ssb-rtc friends", "ssb-rtc friends --json"), settings=("hops",),
    ),
    Command(
        "purge", "remove feeds from the disk that are blocked or out of reach", "friends:purge",
        ("ssb-rtc purge @...=.ed25519", "ssb-rtc purge --all --compact"), _purge, settings=("hops",),
    ),
    Command(
        "sync", "show what limits fetching, and agree to a large first sync", "friends:sync",
        ("ssb-rtc sync", "ssb-rtc sync --accept --wait"), _sync, settings=("hops", "storage_max"),
    ),
    Command(
        "log", "print the messages that we hold", "feed:log",
        ("ssb-rtc log --newest --limit 10", "ssb-rtc log --author @...=.ed25519 --json", "ssb-rtc log --follow"), _log,
        settings=OFFLINE,
    ),
    Command(
        "import", "take in messages from a file", "feed:import_",
        ("ssb-rtc import feed.jsonl",), _file, settings=OFFLINE,
    ),
    Command(
        "index", "show the indexes over the messages, or make them anew", "index:index",
        ("ssb-rtc index", "ssb-rtc index --rebuild"), _index,
    ),
    Command("export", "print every message as a JSON line", "feed:export", ("ssb-rtc export > backup.jsonl",)),
    Command(
        "validate", "check the messages in a file; needs no identity", "validate:validate",
        ("ssb-rtc validate feed.jsonl",), _validate, json=False, settings=("hmac_key",),
    ),
    Command(
        "blobs", "store files, fetch them from peers, and offer them to peers", "blobs:blobs",
        ("ssb-rtc blobs add photo.jpg", "ssb-rtc blobs want '&...=.sha256' --timeout 60",
         "ssb-rtc blobs get '&...=.sha256' -o photo.jpg", "ssb-rtc blobs ls --json"),
        _blobs, settings=("blob_max", "blob_quota"),
    ),
    Command(
        "peers", "show the peers of the running peer", "network:peers",
        ("ssb-rtc peers --all", "ssb-rtc peers --why @6kps"), _peers,
    ),
    Command(
        "connect", "connect the running peer to an address", "network:connect",
        ("ssb-rtc connect net:192.0.2.7:8008~shs:...=", "ssb-rtc connect --pin rtc:hub.example.org~shs:...="), _connect,
    ),
    Command(
        "listen", "show where peers can reach us, or listen at one more place", "network:listen",
        ("ssb-rtc listen", "ssb-rtc listen net:8008", "ssb-rtc listen ws:0.0.0.0:8989"), _listen,
    ),
    Command(
        "unlisten", "stop listening at a place", "network:unlisten",
        ("ssb-rtc unlisten ws:0.0.0.0:8989",), _unlisten,
    ),
    Command(
        "disconnect", "end the link to a peer, and unpin it", "network:disconnect",
        ("ssb-rtc disconnect @...=.ed25519",), _disconnect,
    ),
    Command(
        "hubs", "list, add, remove or recommend signalhubs", "network:hubs",
        ("ssb-rtc hubs", "ssb-rtc hubs add https://hub.example.org", "ssb-rtc hubs remove https://hub.example.org",
         "ssb-rtc hubs add https://hub.example.net --private", "ssb-rtc hubs --why https://hub.example.org",
         "ssb-rtc hubs publish https://hub.example.org"),
        _hubs, settings=("allow_http",),
    ),
    Command(
        "share", "invite a friend: print a code to send by chat, and its QR code", "welcome:share",
        ("ssb-rtc share", "ssb-rtc share --uses 5 --days 2 --note 'the choir' --svg code.svg", "ssb-rtc share list",
         "ssb-rtc share revoke 1a2b3c4d"),
        _share, settings=("hub", "allow_http", "network_key", "hmac_key"),
    ),
    Command(
        "join", "use a friend's invitation: follow each other", "welcome:join",
        ("ssb-rtc join ssbjoin1...", "ssb-rtc join"), _join, settings=("allow_http", "network_key", "hmac_key"),
    ),
    Command(
        "invite", "as npm ssb-invite: codes for who can reach our --net or --ws port", "invite:invite",
        ("ssb-rtc invite create --uses 5 --external peer.example.org", "ssb-rtc invite accept CODE"), _invite,
    ),
    Command(
        "status", "show who we are, what we hold, and whom we are linked to", "network:status",
        ("ssb-rtc status --json", "ssb-rtc status --watch"), _status,
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
         "ssb-rtc trace --json | grep SCHEDULE_CONNECT", "ssb-rtc trace --replay trace.jsonl"), _trace,
    ),
    Command(
        "config", "show the settings in force and where each came from, or make a file of them", "settings:show",
        ("ssb-rtc config", "ssb-rtc config --json", "ssb-rtc config --template"), _config, settings=NETWORK,
    ),
    Command(
        "plugins", "list the plugins of installed packages, and which the running peer has loaded", "plugins:plugins",
        ("ssb-rtc plugins", "ssb-rtc plugins --json"),
    ),
    Command(
        "hub", "run a signalhub for others", "hub:hub",
        ("ssb-rtc hub serve --host 0.0.0.0 --port 8000",
         "ssb-rtc hub serve --trusted-proxy 127.0.0.1 --broker redis://127.0.0.1:6379"),
        _hub, json=False,
    ),
    Command(
        "demo", "a hub and two peers on this machine gossip a feed over WebRTC", "demo:demo",
        ("ssb-rtc demo", "ssb-rtc demo --once --json --messages 1000"), _demo, settings=("rtc_backend",),
    ),
    Command(
        "completion", "print what completes this command in a shell", "completion:completion",
        ("ssb-rtc completion bash > ~/.local/share/bash-completion/completions/ssb-rtc",
         "ssb-rtc completion zsh > ~/.zfunc/_ssb-rtc",
         "ssb-rtc completion fish > ~/.config/fish/completions/ssb-rtc.fish"),
        _completion, json=False,
    ),
    Command(
        "simulate", "try the state manager in a simulated world, from a seed", "simulate:simulate",
        ("ssb-rtc simulate --peers 300 --hubs 5 --seed 1", "ssb-rtc simulate --scenario faults --seeds 100",
         "ssb-rtc simulate --scenario partition --plot run.svg", "ssb-rtc simulate --list"),
        _simulate,
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


def exit_code_of(error: errors.SsbRtcError) -> int:
    """What a failed command exits with. An error that a peer answered with counts as what it was there."""
    if isinstance(error, errors.RemoteCallError):
        was = getattr(errors, error.name, None)
        if isinstance(was, type) and was is not errors.RemoteCallError and issubclass(was, errors.SsbRtcError):
            return exit_code_of(was(str(error)))
    match error:
        case errors.NoPeerRuns():
            return NO_PEER
        case errors.ConfigFault() | errors.MisuseError():
            return USAGE
        case errors.StorageFault() | errors.ListenFailed():
            return ENVIRONMENT
        case _:
            return NEGATIVE


def advice_on(error: errors.SsbRtcError) -> str:
    """What to do about an error that knows nothing of commands, in brackets; or nothing where it says that itself."""
    match error:
        case errors.LinkClosed():
            return " (the peer that answered this has ended: `ssb-rtc start` runs it again)"
        case errors.RemoteCallError() if "is not in list of" in str(error):
            return " (the running peer may be of another version: end it, and start it again)"
        case _:
            return ""


def _advice_on_files(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "make room, or write somewhere else"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "check who may read and write there, or name another file"
    return "check the file or the disk, and try again"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    _on_interrupt(signal.SIG_DFL)
    _stand_in_for_closed_outputs()
    _print_what_the_locale_lacks()
    arguments = build_parser().parse_args(argv)
    module, _, function = arguments.run.partition(":")
    run = getattr(importlib.import_module(f"ssb_rtc.cli.{module}"), function)
    try:
        _on_interrupt(signal.default_int_handler)
        code = run(arguments)
        sys.stdout.flush()
        return int(code)
    except errors.SsbRtcError as error:
        # Some of it may be what a hub or a peer said.
        sentence = "\n".join(map(output.printable, str(error).splitlines()))
        print(f"ssb-rtc: {sentence}{advice_on(error)}", file=sys.stderr)
        return exit_code_of(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader went away (`ssb-rtc log | head`): leave quietly.
        _drop_output()
        return DONE
    except OSError as error:
        # Others translate theirs; what comes here is an output that can't be written, or an input that can't be read.
        _drop_output()
        about = f"{error.filename}: " if error.filename else ""
        print(f"ssb-rtc: {about}{error.strerror or error}: {_advice_on_files(error)}", file=sys.stderr)
        return ENVIRONMENT


def _on_interrupt(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """What Ctrl-C does from now on, unless whoever started us wants it ignored."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _stand_in_for_closed_outputs() -> None:
    """`>&-` leaves no stream at all, and the next file to be opened would take its place."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _print_what_the_locale_lacks() -> None:
    """A character that the locale has no bytes for is written as its escape, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Keep Python from flushing at its end what can't be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
