// One side of bench_link.py in JavaScript: multiserver's net and shs, pull-box-stream and muxrpc.
//
//   node link.cjs <folder of node_modules> server <work> <nodelay: 0 | 1> <bytes>     prints {"port"}, serves until its input ends
//   node link.cjs <folder of node_modules> client <work> <nodelay: 0 | 1> <port> <count> <at once>   prints {"seconds"}
//
// work: handshake (connect and close), bytes (read so many behind the handshake), rpc (call and wait for the answer).
'use strict'
const net = require('net')
const path = require('path')
const { createRequire } = require('module')

const [folder, role, work, nodelay, ...rest] = process.argv.slice(2)
const need = createRequire(path.join(path.resolve(folder), 'noop.js'))

if (nodelay === '1') {
  // multiserver sets no TCP_NODELAY; this is what it would reach with it.
  const { connect, createServer } = net
  net.connect = (...args) => connect(...args).setNoDelay(true)
  net.createServer = (options, listener) => createServer({ ...options, noDelay: true }, listener)
}

const MultiServer = need('multiserver')
const Net = need('multiserver/plugins/net')
const Shs = need('multiserver/plugins/shs')
const MRPC = need('muxrpc')
const keysOf = need('ssb-keys')
const pull = createRequire(need.resolve('secret-stack'))('pull-stream')

const appKey = Buffer.alloc(32)
const serverKeys = keysOf.generate('ed25519', Buffer.alloc(32, 's'))
const clientKeys = keysOf.generate('ed25519', Buffer.alloc(32, 'c'))
const manifest = { echo: 'async' }

const bytesOf = (key) => Buffer.from(key.replace('.ed25519', ''), 'base64')

const pieces = (keys, port) =>
  MultiServer([[Net({ scope: 'device', host: '127.0.0.1', port }), Shs({ keys: { publicKey: bytesOf(keys.public), secretKey: bytesOf(keys.private) }, appKey, auth: (_, cb) => cb(null, true) })]])

function serve(port) {
  const size = Number(rest[0])
  const chunk = Buffer.alloc(65536)
  pieces(serverKeys, port).server((stream) => {
    if (work === 'rpc') {
      const rpc = MRPC(null, manifest)({ echo: (value, cb) => cb(null, value) })
      pull(stream, rpc.createStream(), stream)
    } else if (work === 'bytes') {
      let left = size
      const source = (end, cb) => {
        if (end || left <= 0) return cb(end || true)
        left -= chunk.length
        cb(null, chunk)
      }
      pull(source, stream.sink)
      pull(stream.source, pull.drain(() => {}, () => {}))
    } else {
      pull(stream.source, pull.drain(() => {}, () => {}))
    }
  }, null, () => console.log(JSON.stringify({ port })))
  process.stdin.resume().on('end', () => process.exit(0))
}

const connect = (ms, port) => new Promise((resolve, reject) => {
  const key = serverKeys.public.replace('.ed25519', '')
  ms.client(`net:127.0.0.1:${port}~shs:${key}`, (err, stream) => (err ? reject(err) : resolve(stream)))
})

const inTurn = async (count, atOnce, once) => {
  let left = count
  const lane = async () => { while (left-- > 0) await once() }
  await Promise.all(Array.from({ length: atOnce }, lane))
}

async function run() {
  const [port, count, atOnce] = rest.map(Number)
  const ms = pieces(clientKeys, 1)
  const clock = async (body) => {
    const start = process.hrtime.bigint()
    await body()
    return Number(process.hrtime.bigint() - start) / 1e9
  }
  const works = {
    handshake: () => clock(() => inTurn(count, atOnce, async () => {
      const stream = await connect(ms, port)
      stream.source(true, () => {})
    })),
    bytes: async () => {
      const stream = await connect(ms, port)
      return clock(() => new Promise((resolve, reject) => {
        let left = count
        pull(stream.source, pull.drain((data) => { left -= data.length; if (left <= 0) resolve() }, (err) => reject(err || new Error('too short'))))
      }))
    },
    rpc: async () => {
      const stream = await connect(ms, port)
      const rpc = MRPC(manifest, null)(null)
      pull(stream, rpc.createStream(), stream)
      const call = (value) => new Promise((resolve, reject) => rpc.echo(value, (err, back) => (err ? reject(err) : resolve(back))))
      await call(0)
      return clock(() => inTurn(count, atOnce, () => call(count)))
    },
  }
  console.log(JSON.stringify({ seconds: await works[work]() }))
  process.exit(0)
}

if (role === 'server') {
  const probe = net.createServer({}).listen(0, '127.0.0.1', () => {
    const { port } = probe.address()
    probe.close(() => serve(port))
  })
} else {
  run().catch((err) => { console.error(err); process.exit(1) })
}
