// What the JavaScript stack answers to the streams over its own log: node streams.cjs '<options>'
//
// Options: set ("legacy": ssb-server 15 with ssb-db; "modern": secret-stack 6 with ssb-db2 and its compat plugins), path
// (an empty folder). Its first line of input is a JSON list of message values, which it takes in, in this order; the
// second a list of calls [name, ...arguments], of sources or of methods that answer once. It prints one JSON list of
// answers, a list of items for a source, {error} for a call that failed; and ends.
'use strict'
const path = require('path')
const readline = require('readline')
const { createRequire } = require('module')

const { set, path: folder } = JSON.parse(process.argv[2])
const root = path.join(__dirname, '..', '..', '.node', set === 'legacy' ? 'legacy' : '', 'package.json')
const need = createRequire(root)
console.log = console.error // standard output carries answers only
const pull = createRequire(need.resolve('secret-stack'))('pull-stream')
const caps = need('ssb-caps')
const config = {
  path: folder, keys: need('ssb-keys').generate(), caps, appKey: caps.shs, connections: { incoming: {}, outgoing: {} },
}
const once = (fn, ...args) => new Promise((resolve, reject) => fn(...args, (err, value) => (err ? reject(err) : resolve(value))))

function start () {
  if (set === 'legacy') return need('ssb-server').createSsbServer()(config)
  const stack = need('secret-stack')({ appKey: caps.shs, caps }).use(need('ssb-db2'))
  for (const name of ['db', 'ebt', 'history-stream', 'log-stream']) stack.use(need(`ssb-db2/compat/${name}`))
  return stack(config)
}

async function main () {
  const ssb = start()
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value)
  await Promise.all((await next()).map((value) => once(ssb.add, value))) // one by one, each waits for a batch to fill
  const answers = []
  for (const [name, ...args] of await next()) {
    try {
      const source = !['get', 'getLatest', 'latestSequence', 'getVectorClock'].includes(name)
      answers.push(source ? await once((cb) => pull(ssb[name](...args), pull.collect(cb))) : await once(ssb[name], ...args))
    } catch (err) {
      answers.push({ error: String((err && err.message) || err) })
    }
  }
  process.stdout.write(JSON.stringify(answers) + '\n', () => process.exit(0))
}

main().catch((err) => { console.error(err); process.exit(1) })
