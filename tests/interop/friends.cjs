// What ssb-friends makes of a file of messages, for the differential test.
//
//   node friends.cjs '{"path": "/tmp/x", "messages": "/tmp/x/messages.jsonl", "seed": "<32 bytes, base64>",
//                      "hops": 3, "asked": [{"start": "@...", "max": 2}, ...]}'
//
// Adds every message (one JSON value a line, of any authors, each feed in its order) to an ssb-db2 log whose owner is
// `seed`. Prints one JSON line, {graph, own, hops}: the graph, the hops of the owner as they were kept while the messages
// came, and the answer to each question.
'use strict'
const fs = require('fs')
const path = require('path')
const { createRequire } = require('module')

const need = createRequire(path.join(__dirname, '..', '..', '.node', 'package.json'))
console.log = console.error // standard output carries the answer only

const SecretStack = need('secret-stack')
const caps = need('ssb-caps')
const keysOf = need('ssb-keys')
const call = (fn, ...args) => new Promise((resolve, reject) => fn(...args, (err, value) => (err ? reject(err) : resolve(value))))

async function main() {
  const options = JSON.parse(process.argv[2])
  const keys = keysOf.generate('ed25519', Buffer.from(options.seed, 'base64'))
  const ssb = SecretStack({ appKey: caps.shs, caps })
    .use(need('ssb-db2'))
    .use(need('ssb-db2/compat/db'))
    .use(need('ssb-friends'))({ path: options.path, keys, friends: { hops: options.hops }, connections: { incoming: {}, outgoing: {} } })
  const lines = fs.readFileSync(options.messages, 'utf8').split('\n').filter(Boolean)
  await Promise.all(lines.map((line) => call(ssb.db.add, JSON.parse(line)))) // each would wait for its own flush
  const graph = await call(ssb.friends.graph)
  const own = await call(ssb.friends.hops, {})
  const hops = []
  for (const asked of options.asked) hops.push(await call(ssb.friends.hops, asked))
  process.stdout.write(JSON.stringify({ graph, own, hops }) + '\n', () => ssb.close(true, () => process.exit(0)))
}

main().catch((err) => {
  console.error(err)
  process.exit(1)
})
