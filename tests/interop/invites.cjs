// The legacy stock peer with its ssb-invite, for test_invites.py; see stack_legacy.cjs.
//
//   node invites.cjs '{"path": "/tmp/x", "caps": "base64"}'
//
// Prints one JSON line when it listens, {id}; then takes one JSON command a line and prints one JSON line for each:
// {cmd: "create", options}, {cmd: "accept", code}, {cmd: "contacts"}: {result} or {error}.
'use strict'
const net = require('net')
const path = require('path')
const readline = require('readline')
const { createRequire } = require('module')

console.log = console.error // standard output carries answers only
const need = createRequire(path.resolve(__dirname, '../../.node/legacy/package.json'))
const call = (fn, ...args) => new Promise((resolve, reject) => fn(...args, (err, value) => (err ? reject(err) : resolve(value))))
const freePort = () => new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address()
    server.close(() => resolve(port))
  })
})

async function main() {
  const options = JSON.parse(process.argv[2])
  const listen = async () => ({ scope: ['device', 'private', 'public'], host: '127.0.0.1', port: await freePort(), transform: 'shs' })
  const config = {
    path: options.path,
    keys: need('ssb-keys').loadOrCreateSync(path.join(options.path, 'secret')),
    caps: { ...need('ssb-caps'), shs: options.caps },
    allowPrivate: true, // to invite to 127.0.0.1
    friends: { hops: 3 },
    timers: { inactivity: 600e3, handshake: 15e3, ping: 300e3 },
    connections: {
      incoming: { net: [await listen()], ws: [await listen()] },
      outgoing: { net: [{ transform: 'shs' }], ws: [{ transform: 'shs' }] },
    },
  }
  const { ssb, commands } = require('./stack_legacy.cjs')(need, config, {})
  await new Promise((resolve) => ssb.once('multiserver:listening', resolve))
  const known = {
    create: ({ options }) => call(ssb.invite.create, options),
    accept: ({ code }) => call(ssb.invite.accept, code),
    contacts: async () => (await commands.feed({ id: ssb.id })).map(({ value }) => value.content).filter(({ type }) => type === 'contact'),
  }
  const print = (value) => process.stdout.write(JSON.stringify(value) + '\n')
  readline.createInterface({ input: process.stdin }).on('line', async (line) => {
    const command = JSON.parse(line)
    try {
      print({ result: await known[command.cmd](command) })
    } catch (err) {
      print({ error: String((err && err.message) || err) })
    }
  }).on('close', () => process.exit(0))
  print({ id: ssb.id })
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
