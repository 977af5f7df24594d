// A peer in a page, of stock npm modules: it meets others with webrtc-swarm on a signalhub, does the secret handshake on
// the data channel, and replicates over muxrpc. Its swarm id is its feed id. Whose offer stands is the client.
//
// The test gives the options in a web socket's first line: app, hubs (urls), seed (32 bytes in base64), caps (the
// network key, base64), ebt (else createHistoryStream), and quiet: it does not say that it is there, so nobody offers,
// and it offers to all who do. It answers {id} when the hub listens to it, then takes the commands of ../peer.cjs.
import { Feeds } from './feeds.js'
import { ebt, history } from './replication.js'

const { Buffer } = require('buffer')
const pull = require('pull-stream')
const muxrpc = require('muxrpc')
const handshake = require('secret-handshake')
const signalhub = require('signalhub')
const ssbKeys = require('ssb-keys')
const duplex = require('stream-to-pull-stream').duplex
const webrtcSwarm = require('webrtc-swarm')

const HANDSHAKE_MS = 15e3

const keyOf = (id) => Buffer.from(id.slice(1).replace(/\.ed25519$/, ''), 'base64')
const idOf = (key) => `@${key.toString('base64')}.ed25519`
const bytesOf = (text) => Buffer.from(text.replace(/\.ed25519$/, ''), 'base64')

// Turns the open channels of a swarm into muxrpc links, by the id that the handshake has proven.
class Links {
  constructor(keys, networkKey, replication) {
    this.pair = { publicKey: bytesOf(keys.public), secretKey: bytesOf(keys.private) }
    this.networkKey = networkKey
    this.replication = replication
    this.open = new Map()
    this.waiting = new Set() // called whenever a link came or went
  }

  // `id` is what the hub said; on the data channel it is proven, or the channel ends.
  take(peer, id) {
    const wire = duplex(peer)
    const linked = (err, secured) => {
      if (err) {
        console.error(`no handshake with ${id}:`, err.message || err)
        return peer.destroy()
      }
      this.start(secured, peer.initiator)
    }
    const authorize = (key, cb) => cb(null, idOf(key) === id)
    const shake = peer.initiator
      ? handshake.createClient(this.pair, this.networkKey, HANDSHAKE_MS)(keyOf(id), linked)
      : handshake.createServer(this.pair, authorize, this.networkKey, HANDSHAKE_MS)(linked)
    pull(wire, shake, wire)
  }

  start(secured, dialled) {
    const { manifest, methods, linked } = this.replication
    const id = idOf(secured.remote)
    const allow = Object.keys(manifest)
    const rpc = muxrpc(manifest, manifest, methods, id, { allow }, null, false)
    rpc.id = id
    pull(secured, rpc.stream, secured)
    this.open.set(id, { rpc, dialled })
    rpc.once('closed', () => {
      if (this.open.get(id)?.rpc === rpc) this.open.delete(id)
      this.changed()
    })
    linked(rpc, dialled)
    this.changed()
  }

  changed() {
    for (const look of [...this.waiting]) look()
  }

  // Resolves once the link with this peer is there, or gone, with whether we dialled it.
  when(id, there) {
    return new Promise((resolve) => {
      const look = () => {
        if (this.open.has(id) !== there) return
        this.waiting.delete(look)
        resolve(there ? this.open.get(id).dialled : null)
      }
      this.waiting.add(look)
      look()
    })
  }
}

function commandsOf(feeds, links, replication) {
  const follow = (contact, following) => feeds.publish({ type: 'contact', contact, following }).key
  return {
    publish: ({ content }) => feeds.publish(content),
    publishMany: ({ count, text = 'x' }) => {
      const made = Array.from({ length: count }, (_, i) => feeds.publish({ type: 'post', text: `${text} ${i}` }))
      return { key: made[count - 1].key, sequence: made[count - 1].value.sequence }
    },
    follow: ({ id, state = true }) => {
      if (state) replication.want(id)
      return follow(id, state)
    },
    clock: () => feeds.clock(),
    reached: ({ clock }) => feeds.reached(clock),
    feed: ({ id, after = 0 }) => feeds.of(id).slice(after),
    ids: ({ id, after = 0 }) => feeds.of(id).slice(after).map(({ key }) => key),
    peers: () => [...links.open.keys()],
    met: async ({ id }) => ({ dialled: await links.when(id, true) }),
    parted: ({ id }) => links.when(id, false),
    disconnect: ({ id }) => new Promise((resolve) => links.open.get(id).rpc.close(true, () => resolve())),
  }
}

async function start(options) {
  const keys = ssbKeys.generate('ed25519', Buffer.from(options.seed, 'base64'))
  const feeds = new Feeds(keys)
  const replication = (options.ebt ? ebt : history)(feeds)
  const links = new Links(keys, Buffer.from(options.caps, 'base64'), replication)
  const hub = signalhub(options.app, options.hubs)
  const swarm = webrtcSwarm(hub, {
    uuid: keys.id,
    config: { iceServers: [] },
    wrap: (said, channel) => (options.quiet && channel === 'all' ? { ...said, type: 'quiet' } : said),
  })
  swarm.on('peer', (peer, id) => links.take(peer, id))
  await Promise.all(hub.subscribers.map((channel) => new Promise((resolve) => channel.once('open', resolve))))
  return { id: keys.id, commands: commandsOf(feeds, links, replication) }
}

const test = new WebSocket(location.href.replace(/^http/, 'ws').replace(/[^/]*$/, 'lines'))
const say = (value) => test.send(JSON.stringify(value))
const worded = (err) => String((err && (err.stack || err.message)) || err)

// What goes wrong is the test's to read.
const complain = console.error
console.error = (...words) => {
  complain(...words)
  if (test.readyState === WebSocket.OPEN) say({ complaint: words.map(worded).join(' ') })
}
window.addEventListener('error', ({ error, message }) => console.error('uncaught:', error || message))
window.addEventListener('unhandledrejection', ({ reason }) => console.error('unhandled:', reason))

let commands = null
test.onmessage = async ({ data }) => {
  const { n, cmd, ...args } = JSON.parse(data)
  try {
    if (commands === null) {
      commands = {}
      const { id, commands: known } = await start(args)
      commands = known
      return say({ id })
    }
    if (!commands[cmd]) throw new Error(`no command ${cmd}`)
    const result = await commands[cmd](args)
    say({ n, ok: true, result: result === undefined ? null : result })
  } catch (err) {
    if (n !== undefined) return say({ n, ok: false, error: worded(err) })
    console.error('could not start:', err)
    test.close()
  }
}
