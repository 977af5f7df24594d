"""What each command takes besides its settings: one function a command, named after it, which adds to its parser."""

from __future__ import annotations

from argparse import ArgumentParser as Parser

from ssb_rtc.cli import flags, hub_flags

KNOWN_FEED = "the feed, like @...=.ed25519; of one that is known here the beginning will do"


def init(parser: Parser) -> None:
    parser.add_argument("--secret", metavar="FILE", help="take over the identity in this secret file")


def name(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="what to be called from now on, for everybody to read")


def start(parser: Parser) -> None:
    parser.add_argument(
        "--restored", action="store_true", help="this folder comes from a backup: write nothing until a peer answered"
    )


def publish(parser: Parser) -> None:
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the text of a post; - reads it from standard input")
    parser.add_argument("--content", metavar="JSON", help="a whole content object instead of a post")
    parser.add_argument(
        "--to", metavar="ID", action="append", default=[], help="only this feed (and we) can read it; up to 6 times"
    )
    parser.add_argument("--durable", action="store_true", help="return only when the disk has it")
    parser.add_argument("--force", action="store_true", help="write although no peer has confirmed our latest message")


def follow(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help=KNOWN_FEED)
    parser.add_argument("--undo", action="store_true", help="no longer follow it")


def block(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help=KNOWN_FEED)
    parser.add_argument("--reason", metavar="TEXT", help="why, for everybody to read")
    parser.add_argument("--undo", action="store_true", help="no longer block it")


def purge(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", nargs="*", help="a feed that we block, or that nobody near us follows")
    parser.add_argument("--all", action="store_true", help="every such feed")
    parser.add_argument("--compact", action="store_true", help="then make the file smaller; takes 10 s for a GB")


def sync(parser: Parser) -> None:
    answers = parser.add_mutually_exclusive_group()
    answers.add_argument("--accept", action="store_true", help="fetch all feeds within --hops, however large")
    answers.add_argument("--decline", action="store_true", help="fetch only whom we follow directly")
    parser.add_argument(
        "--wait", action="store_true", help="show the progress until all is here that linked peers have (needs a peer)"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=flags.seconds, help="how long --wait waits (default: until it is done)"
    )


def log(parser: Parser) -> None:
    parser.add_argument("--author", metavar="ID", help="only the messages of this feed")
    parser.add_argument("--limit", metavar="N", type=int, help="at most this many")
    parser.add_argument("--newest", action="store_true", help="the latest first, instead of the earliest")
    parser.add_argument("--private", action="store_true", help="only private messages that we can read")
    parser.add_argument("--follow", action="store_true", help="go on with what arrives from now on (needs a peer)")


def index(parser: Parser) -> None:
    parser.add_argument("--rebuild", action="store_true", help="make all indexes anew from the messages")


def file(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="JSON lines; - reads standard input")


def validate(parser: Parser) -> None:
    file(parser)
    parser.add_argument("--strict", action="store_true", help="follow the specification where it is narrower")


def blobs(parser: Parser) -> None:
    actions = ("add", "get", "has", "want", "push", "ls", "rm")
    parser.add_argument("action", choices=actions, help="what to do; push offers it to peers, rm also ends a want")
    parser.add_argument("what", nargs="?", metavar="FILE|ID", help="the file to add (- is standard input), or a blob")
    parser.add_argument("-o", "--output", metavar="FILE", help="where get writes to (default: standard output)")
    parser.add_argument(
        "--timeout", metavar="S", type=flags.seconds, help="how long want waits (default: until it is here)"
    )
    parser.add_argument("--max", metavar="BYTES", type=int, help="add or want it only with fewer bytes than this")


def peers(parser: Parser) -> None:
    parser.add_argument("--all", action="store_true", help="also those that we know of and are not linked to")
    parser.add_argument(
        "--why", metavar="PEER", help="tell why this one is connected or not; its id, or the beginning of it"
    )


def connect(parser: Parser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="like net:HOST:PORT~shs:KEY or rtc:HUB~shs:KEY")
    parser.add_argument("--pin", action="store_true", help="keep a link with this peer from now on, until `disconnect`")


def listen(parser: Parser) -> None:
    parser.add_argument("where", nargs="?", metavar="WHERE", help="like net:8008 or ws:0.0.0.0:8989")


def unlisten(parser: Parser) -> None:
    parser.add_argument("where", metavar="WHERE", help="as `listen` took it, or an address that it prints")


def invite(parser: Parser) -> None:
    parser.add_argument("action", choices=("create", "accept", "list", "revoke"), help="what to do")
    parser.add_argument(
        "code", nargs="?", metavar="CODE", help="accept: the code; revoke: the invite's id, as list shows it"
    )
    parser.add_argument("--uses", metavar="N", type=int, help="create: for so many people (default 1)")
    parser.add_argument("--days", metavar="N", type=int, help="create: for so many days (default 30)")
    parser.add_argument("--external", metavar="HOST", help="create: the name or address by which others reach us")
    parser.add_argument("--note", metavar="TEXT", help="create: stands in the public message by which we follow them")
    parser.add_argument("--modern", action="store_true", help="create: as a multiserver address, for one person")


def share(parser: Parser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=("create", "list", "revoke"), default="create",
        help="what to do (default: create); revoke takes one back",
    )  # fmt: skip
    parser.add_argument("id", nargs="?", metavar="ID", help="revoke: the invitation's id, as list shows it")
    parser.add_argument("--uses", metavar="N", type=int, help="for so many people (default 1)")
    parser.add_argument("--days", metavar="N", type=int, help="good for so many days (default 7)")
    parser.add_argument("--note", metavar="TEXT", help="for whom it is; stands in `share list` and nowhere else")
    parser.add_argument("--svg", metavar="FILE", help="write the QR code into this file, too")


def join(parser: Parser) -> None:
    parser.add_argument(
        "code", nargs="?", metavar="CODE", help="what `ssb-rtc share` printed for you; - reads it from standard input"
    )
    parser.add_argument("--forget", metavar="ID", help="give up the waiting invitation of this peer; or its beginning")
    parser.add_argument(
        "--wait", metavar="S", type=flags.seconds, default=60.0, help="show for so long how it goes (default 60)"
    )


def disconnect(parser: Parser) -> None:
    parser.add_argument("peer", metavar="PEER", help="the peer's id, like @...=.ed25519, or its beginning")


def hubs(parser: Parser) -> None:
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


def status(parser: Parser) -> None:
    parser.add_argument(
        "--watch", action="store_true", help="stay, and show what changes; on a pipe a line for each change"
    )


def trace(parser: Parser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--peer",
        metavar="PEER",
        help="only the way to this peer, since its last attempt began; its id, or its beginning",
    )
    what.add_argument("--replay", metavar="FILE", help="run what `start --trace FILE` recorded once more, and compare")


def config(parser: Parser) -> None:
    parser.add_argument("--template", action="store_true", help="print a settings file with everything as a comment")


def hub(parser: Parser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    serve = actions.add_parser("serve", help="serve a signalhub until interrupted")
    hub_flags.add_serve(serve)


def simulate(parser: Parser) -> None:
    parser.add_argument("--scenario", metavar="NAME", default="calm", help="what happens (default calm); see --list")
    parser.add_argument("--list", action="store_true", help="show the scenarios")
    parser.add_argument("--peers", metavar="N", type=int, help="so many peers instead of the scenario's number")
    parser.add_argument("--hubs", metavar="N", type=int, help="so many hubs instead of the scenario's number")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="the seed, or the first one (default 1)")
    parser.add_argument("--seeds", metavar="N", type=int, help="run so many seeds, up to the first one that fails")
    parser.add_argument("--plot", metavar="FILE", help="draw links and messages over time into this SVG file")


def demo(parser: Parser) -> None:
    parser.add_argument("--once", action="store_true", help="end when the second peer holds everything")
    parser.add_argument("--messages", metavar="N", type=int, default=100, help="how many to write (default 100)")
    parser.add_argument("--import", dest="source", metavar="FILE", help="serve the messages of this file instead")
    parser.add_argument("--hub", dest="meet_on", metavar="URL", help="meet on this hub instead of starting one")
    parser.add_argument(
        "--timeout", metavar="S", type=flags.seconds, default=60.0, help="give up after this time (default 60)"
    )


def completion(parser: Parser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that it is for")
