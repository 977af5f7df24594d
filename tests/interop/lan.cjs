// A stock secret-stack with npm ssb-lan, for the tests of the local network: node lan.cjs '{"path", "host", "packages"}'.
//
// Prints JSON lines: {id, address} when it listens, {heard: address, verified} for each discovery, {linked: id} for each
// link that others open to it. It dials nobody. It ends when its input ends.
'use strict'
const path = require('path')
const { createRequire } = require('module')

const options = JSON.parse(process.argv[2])
const need = createRequire(path.join(options.packages, 'package.json'))
const pull = createRequire(need.resolve('secret-stack'))('pull-stream')
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n')
console.log = console.error // standard output carries answers only

const caps = need('ssb-caps')
const ssb = need('secret-stack')({ appKey: caps.shs, caps })
  .use({ name: 'own', version: '1.0.0', init: (ssb, config) => { ssb.keys = config.keys } }) // as ssb-db has it
  .use(need('ssb-lan'))({
    path: options.path,
    keys: need('ssb-keys').generate(),
    caps,
    timers: { inactivity: 600e3 },
    connections: {
      incoming: { net: [{ scope: 'private', host: options.host, port: 8008, transform: 'shs' }] },
      outgoing: { net: [{ transform: 'shs' }] },
    },
  })

ssb.on('rpc:connect', (rpc) => say({ linked: rpc.id }))
ssb.once('multiserver:listening', () => {
  say({ id: ssb.id, address: ssb.getAddress('private') })
  pull(ssb.lan.discoveredPeers(), pull.drain(({ address, verified }) => say({ heard: address, verified })))
  ssb.lan.start()
})
process.stdin.on('end', () => process.exit(0)).resume()
