// Times ssb-db2's db.publish, one message after another: node publish.cjs <folder with node_modules> <folder of the
// peer> <messages> <messages to warm up> <text of a post>. Prints {"seconds"}.
'use strict'
const path = require('path')
const { createRequire } = require('module')

const [at, folder, count, warmUp, text] = process.argv.slice(2)
const need = createRequire(path.join(path.resolve(at), 'package.json'))
console.log = console.error
const caps = need('ssb-caps')
const keys = need('ssb-keys').generate()
const stack = need('secret-stack')({ appKey: caps.shs, caps })
// The plugins of a stock peer, as tests/interop/peer.cjs has them: ours runs with all of its own, too.
const plugins = ['ssb-db2', 'ssb-db2/compat/db', 'ssb-db2/compat/ebt', 'ssb-db2/compat/history-stream',
  'ssb-db2/compat/log-stream', 'ssb-ebt', 'ssb-friends', 'ssb-conn', 'ssb-replication-scheduler', 'ssb-blobs']
for (const plugin of plugins) stack.use(need(plugin))
const ssb = stack({
  path: folder, keys, caps, conn: { autostart: false, populatePubs: false }, connections: { incoming: {}, outgoing: {} },
})
const publish = () => new Promise((resolve, reject) =>
  ssb.db.publish({ type: 'post', text }, (err, made) => (err ? reject(err) : resolve(made))))

async function main () {
  for (let n = 0; n < Number(warmUp); n++) await publish()
  const start = process.hrtime.bigint()
  for (let n = 0; n < Number(count); n++) await publish()
  process.stdout.write(JSON.stringify({ seconds: Number(process.hrtime.bigint() - start) / 1e9 }) + '\n', () => process.exit(0))
}

main().catch((err) => { console.error(err); process.exit(1) })
