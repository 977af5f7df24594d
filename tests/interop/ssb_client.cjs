// npm ssb-client against a peer, for test_ssb_client.py.
//
//   node ssb_client.cjs '{"remote": "unix:...~noauth", "secret": "/path/secret", "caps": "base64", "calls": [...]}'
//
// It brings no manifest and so asks the peer for its own. Each call is {name, args, kind}: kind "source" gives a list of
// what came (bytes as text), kind "add" sends args[0] as the bytes of a blob, anything else gives one answer.
// Prints one JSON line, {id, results: [{value} | {error}]}.
'use strict'
const path = require('path')
const { createRequire } = require('module')

const need = createRequire(path.resolve(__dirname, '../../.node/package.json'))
const pull = createRequire(need.resolve('secret-stack'))('pull-stream')
const call = (fn, ...args) => new Promise((resolve, reject) => fn(...args, (err, value) => (err ? reject(err) : resolve(value))))
const plain = (value) => (Buffer.isBuffer(value) ? value.toString() : value)

function run(ssb, { name, args = [], kind }) {
  const method = name.split('.').reduce((at, part) => at && at[part], ssb)
  if (!method) throw new Error(`the manifest has no ${name}`)
  if (kind === 'source') return call((cb) => pull(method(...args), pull.map(plain), pull.collect(cb)))
  if (kind === 'add') return call((cb) => pull(pull.values([Buffer.from(args[0])]), method(cb)))
  return call(method, ...args)
}

async function main({ remote, secret, caps, calls }) {
  const keys = secret ? need('ssb-keys').loadSync(secret) : need('ssb-keys').generate()
  const ssb = await call(need('ssb-client'), keys, { remote, caps: { shs: caps }, timers: { handshake: 15e3 } })
  const results = []
  for (const each of calls) {
    try {
      const value = await run(ssb, each)
      results.push({ value: value === undefined ? null : value })
    } catch (err) {
      results.push({ error: err.message || String(err) })
    }
  }
  console.log(JSON.stringify({ id: keys.id, results }))
  await call(ssb.close, true).catch(() => {})
  process.exit(0)
}

main(JSON.parse(process.argv[2])).catch((err) => {
  console.error(err.stack || err)
  process.exit(1)
})
