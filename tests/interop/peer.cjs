// A stock modern JavaScript peer as a process of its own, for the interop tests.
//
//   node peer.cjs '{"path": "/tmp/x"}'
//
// Options: path (folder, required), host (127.0.0.1), port (0: any free one), caps (network key, base64; default: the
// main network's), seed (32 bytes in base64: the same identity each time), hops (3, as ssb-friends has it),
// swarm ({hubs: [url], app}: also meet others with webrtc-swarm, see swarm.cjs).
//
// Prints one JSON line when it listens, {id, address, port}; then takes one JSON command a line, {n, cmd, ...}, and
// prints one JSON line for each, {n, ok, result | error}. It dials only when told to. It ends when its input ends.
'use strict'
const fs = require('fs')
const net = require('net')
const path = require('path')
const readline = require('readline')
const { createRequire } = require('module')

const need = createRequire(path.join(__dirname, '..', '..', '.node', 'package.json'))
console.log = console.error // standard output carries answers only

const SecretStack = need('secret-stack')
const caps = need('ssb-caps')
const keysOf = need('ssb-keys')
const pull = createRequire(need.resolve('secret-stack'))('pull-stream')
const { where, and, author, gt, toPullStream } = need('ssb-db2/operators')

function freePort(host) {
  return new Promise((resolve, reject) => {
    const server = net.createServer()
    server.on('error', reject)
    server.listen(0, host, () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

async function start(options) {
  fs.mkdirSync(options.path, { recursive: true })
  const host = options.host || '127.0.0.1'
  const port = options.port || (await freePort(host))
  const keys = options.seed
    ? keysOf.generate('ed25519', Buffer.from(options.seed, 'base64'))
    : keysOf.loadOrCreateSync(path.join(options.path, 'secret'))
  const shs = options.caps || caps.shs
  const stack = SecretStack({ appKey: shs, caps: { ...caps, shs } })
    .use(need('ssb-db2'))
    .use(need('ssb-db2/compat/db'))
    .use(need('ssb-db2/compat/ebt'))
    .use(need('ssb-db2/compat/history-stream'))
    .use(need('ssb-db2/compat/log-stream'))
    .use(need('ssb-ebt'))
    .use(need('ssb-friends'))
    .use(need('ssb-conn'))
    .use(need('ssb-replication-scheduler'))
    .use(need('ssb-blobs'))
  if (options.swarm) stack.use(require('./swarm.cjs')(need, options.swarm))
  const rtc = options.swarm ? { rtc: [{ scope: 'public', transform: 'shs' }] } : {}
  const ssb = stack({
    path: options.path,
    keys,
    caps: { ...caps, shs },
    friends: { hops: options.hops || 3 },
    conn: { autostart: false, populatePubs: false },
    // Without this object secret-stack ends links after five idle seconds.
    timers: { inactivity: 600e3, handshake: 15e3, ping: 300e3 },
    blobs: { sympathy: 1 },
    connections: {
      incoming: { net: [{ scope: 'device', host, port, transform: 'shs' }], ...rtc },
      outgoing: { net: [{ transform: 'shs' }], ...rtc },
    },
  })
  await new Promise((resolve) => ssb.once('multiserver:listening', resolve))
  return { ssb, ready: { id: ssb.id, address: `net:${host}:${port}~shs:${keys.public.replace(/\.ed25519$/, '')}`, port } }
}

const call = (fn, ...args) => new Promise((resolve, reject) => fn(...args, (err, value) => (err ? reject(err) : resolve(value))))

const collect = (source) => new Promise((resolve, reject) => pull(source, pull.collect((err, all) => (err ? reject(err) : resolve(all)))))

async function feedOf(ssb, { id, after = 0 }) {
  const query = after ? and(author(id), gt(after, 'sequence')) : author(id)
  const found = await collect(ssb.db.query(where(query), toPullStream()))
  return found.sort((a, b) => a.value.sequence - b.value.sequence)
}

function linkTo(ssb, id) {
  const links = (ssb.peers[id] || []).filter((rpc) => !rpc.closed)
  if (!links.length) throw new Error(`no link to ${id}`)
  return links[links.length - 1]
}

// Resolves once every feed of `clock` has come at least that far.
async function reached(ssb, clock) {
  for (;;) {
    const now = await call(ssb.getVectorClock)
    if (Object.keys(clock).every((id) => (now[id] || 0) >= clock[id])) return now
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

const commands = (ssb) => ({
  // feeds
  publish: async ({ content, recps }) => {
    const made = recps
      ? await call(ssb.db.create, { keys: ssb.config.keys, feedFormat: 'classic', content, recps, encryptionFormat: 'box' })
      : await call(ssb.db.publish, content)
    return { key: made.key, value: made.value }
  },
  publishMany: async ({ count, text = 'x' }) => {
    const posts = Array.from({ length: count }, (_, i) => call(ssb.db.publish, { type: 'post', text: `${text} ${i}` }))
    const made = await Promise.all(posts)
    return { key: made[count - 1].key, sequence: made[count - 1].value.sequence }
  },
  follow: ({ id, state = true }) => call(ssb.friends.follow, id, { state }).then((made) => made.key),
  block: ({ id, state = true }) => call(ssb.friends.block, id, { state }).then((made) => made.key),
  request: ({ id, state = true }) => ssb.ebt.request(id, state),
  clock: () => call(ssb.getVectorClock),
  reached: ({ clock }) => reached(ssb, clock),
  feed: async (args) => (await feedOf(ssb, args)).map(({ key, value }) => ({ key, value })),
  ids: async (args) => (await feedOf(ssb, args)).map(({ key }) => key),
  count: async (args) => (await feedOf(ssb, args)).length,
  read: ({ key }) => call(ssb.db.get, key), // decrypted where it is for us
  hops: () => call(ssb.friends.hops),

  // links
  connect: ({ address }) => call(ssb.conn.connect, address).then((rpc) => rpc.id),
  disconnect: async ({ id }) => {
    const link = linkTo(ssb, id)
    await new Promise((resolve) => link.close(true, resolve))
  },
  peers: () => Object.keys(ssb.peers).filter((id) => ssb.peers[id].length > 0),
  // Calls a method of the peer at the other end; a source's values come as one list.
  call: ({ id, name, args = [], source = false }) => {
    const method = name.reduce((at, part) => at[part], linkTo(ssb, id))
    return source ? collect(method(...args)) : call(method, ...args)
  },

  // blobs
  addBlob: ({ text }) => new Promise((resolve, reject) =>
    pull(pull.once(Buffer.from(text)), ssb.blobs.add((err, id) => (err ? reject(err) : resolve(id))))),
  wantBlob: ({ id }) => call(ssb.blobs.want, id),
  hasBlob: ({ id }) => call(ssb.blobs.has, id),
  getBlob: async ({ id }) => Buffer.concat(await collect(ssb.blobs.get(id))).toString(),
})

async function main() {
  const options = JSON.parse(process.argv[2])
  const { ssb, ready } = await start(options)
  const print = (value) => process.stdout.write(JSON.stringify(value) + '\n')
  const known = commands(ssb)
  const answer = async (line) => {
    const { n, cmd, ...args } = JSON.parse(line)
    try {
      if (cmd === 'close') {
        await new Promise((resolve) => ssb.close(true, resolve))
        process.stdout.write(JSON.stringify({ n, ok: true, result: null }) + '\n', () => process.exit(0))
        return
      }
      if (!known[cmd]) throw new Error(`no command ${cmd}`)
      const result = await known[cmd](args)
      print({ n, ok: true, result: result === undefined ? null : result })
    } catch (err) {
      print({ n, ok: false, error: String((err && err.message) || err) })
    }
  }
  readline.createInterface({ input: process.stdin }).on('line', answer).on('close', () => process.exit(0))
  print(ready)
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
