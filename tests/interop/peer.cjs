// A stock JavaScript peer as a process of its own, for the interop tests.
//
//   node peer.cjs '{"kind": "legacy", "path": "/tmp/x"}'
//
// Options: kind ("modern6", "modern8" or "legacy": which npm set, see stack_modern.cjs and stack_legacy.cjs), path
// (folder, required), host (127.0.0.1), port and wsPort (0: any free one), caps (network key, base64; default: the main
// network's), seed (32 bytes in base64: the same identity each time), hops (3, as ssb-friends has it), ebt (true;
// false: a legacy peer without it), swarm ({hubs: [url], app}: a modern peer that also meets others with webrtc-swarm,
// see swarm.cjs for its other options).
//
// Prints one JSON line when it listens, {id, address, wsAddress, port}; then takes one JSON command a line,
// {n, cmd, ...}, and prints one JSON line for each, {n, ok, result | error}. It dials only when told to. It ends when
// its input ends.
'use strict'
const fs = require('fs')
const net = require('net')
const path = require('path')
const readline = require('readline')
const { createRequire } = require('module')

const PACKAGES = { modern6: '.', modern8: 'modern8', legacy: 'legacy' }
console.log = console.error // standard output carries answers only

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

async function start(options, need) {
  const host = options.host || '127.0.0.1'
  const [port, wsPort] = [options.port || (await freePort(host)), options.wsPort || (await freePort(host))]
  const keysOf = need('ssb-keys')
  const keys = options.seed
    ? keysOf.generate('ed25519', Buffer.from(options.seed, 'base64'))
    : keysOf.loadOrCreateSync(path.join(options.path, 'secret'))
  const listen = (at) => ({ scope: 'device', host, port: at, transform: 'shs' })
  const config = {
    path: options.path,
    keys,
    caps: { ...need('ssb-caps'), ...(options.caps ? { shs: options.caps } : {}) },
    friends: { hops: options.hops || 3 },
    // Without this object secret-stack ends links after five idle seconds.
    timers: { inactivity: 600e3, handshake: 15e3, ping: 300e3 },
    connections: {
      incoming: { net: [listen(port)], ws: [listen(wsPort)] },
      outgoing: { net: [{ transform: 'shs' }], ws: [{ transform: 'shs' }] },
    },
  }
  const { ssb, commands } = require(options.kind === 'legacy' ? './stack_legacy.cjs' : './stack_modern.cjs')(need, config, options)
  await new Promise((resolve) => ssb.once('multiserver:listening', resolve))
  const suffix = `~shs:${keys.public.replace(/\.ed25519$/, '')}`
  return {
    ssb,
    commands,
    ready: { id: ssb.id, address: `net:${host}:${port}${suffix}`, wsAddress: `ws://${host}:${wsPort}${suffix}`, port },
  }
}

const call = (fn, ...args) => new Promise((resolve, reject) => fn(...args, (err, value) => (err ? reject(err) : resolve(value))))

// What is the same in every stack; `pull` is pull-stream.
function commonCommands(ssb, pull) {
  const collect = (source) => new Promise((resolve, reject) => pull(source, pull.collect((err, all) => (err ? reject(err) : resolve(all)))))

  function linkTo(id) {
    const links = (ssb.peers[id] || []).filter((rpc) => !rpc.closed)
    if (!links.length) throw new Error(`no link to ${id}`)
    return links[links.length - 1]
  }

  // Resolves once every feed of `clock` has come at least that far.
  async function reached(clock) {
    for (;;) {
      const now = await call(ssb.getVectorClock)
      if (Object.keys(clock).every((id) => (now[id] || 0) >= clock[id])) return now
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  const dialled = new Map()
  ssb.on('rpc:connect', (rpc, isClient) => dialled.set(rpc.id, Boolean(isClient)))

  return {
    clock: () => call(ssb.getVectorClock),
    reached: ({ clock }) => reached(clock),
    hops: () => call(ssb.friends.hops),

    disconnect: async ({ id }) => {
      const link = linkTo(id)
      await new Promise((resolve) => link.close(true, resolve))
    },
    peers: () => Object.keys(ssb.peers).filter((id) => ssb.peers[id].length > 0),
    met: async ({ id }) => {
      while (!(ssb.peers[id] || []).length) await new Promise((resolve) => setTimeout(resolve, 20))
      return { dialled: dialled.get(id) }
    },
    parted: async ({ id }) => {
      while ((ssb.peers[id] || []).length) await new Promise((resolve) => setTimeout(resolve, 20))
    },
    // Calls a method of the peer at the other end; a source's values come as one list.
    call: ({ id, name, args = [], source = false }) => {
      const method = name.reduce((at, part) => at[part], linkTo(id))
      return source ? collect(method(...args)) : call(method, ...args)
    },

    addBlob: ({ text }) => new Promise((resolve, reject) =>
      pull(pull.once(Buffer.from(text)), ssb.blobs.add((err, id) => (err ? reject(err) : resolve(id))))),
    pushBlob: ({ id }) => call(ssb.blobs.push, id),
    wantBlob: ({ id }) => call(ssb.blobs.want, id),
    getsBlob: async ({ id }) => {
      while (!(await call(ssb.blobs.has, id))) await new Promise((resolve) => setTimeout(resolve, 20))
    },
    getBlob: async ({ id }) => Buffer.concat(await collect(ssb.blobs.get(id))).toString(),
  }
}

async function main() {
  const options = JSON.parse(process.argv[2])
  const folder = path.join(__dirname, '..', '..', '.node', PACKAGES[options.kind || 'modern6'])
  const need = createRequire(path.join(folder, 'package.json'))
  fs.mkdirSync(options.path, { recursive: true })
  const { ssb, commands, ready } = await start(options, need)
  const print = (value) => process.stdout.write(JSON.stringify(value) + '\n')
  const known = { ...commonCommands(ssb, createRequire(need.resolve('secret-stack'))('pull-stream')), ...commands }
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
