// The client of npm signalhub, told by lines of JSON what to do; it tells by lines of JSON what befell.
'use strict'
const { createRequire } = require('module')
const readline = require('readline')

const signalhub = createRequire(`${process.argv[2]}/package.json`)('signalhub')
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n')
const hubs = new Map()

const orders = {
  hub: ({ name, app, urls }) => hubs.set(name, signalhub(app, urls)),
  subscribe: ({ name, channels, as }) => {
    const stream = hubs.get(name).subscribe(channels)
    stream.on('open', () => say({ as, event: 'open' }))
    stream.on('data', (data) => say({ as, event: 'data', data }))
    stream.on('close', () => say({ as, event: 'close' }))
  },
  broadcast: ({ name, channel, message }) =>
    hubs.get(name).broadcast(channel, message, (error) => say({ event: 'sent', error: error ? error.message : null })),
  close: ({ name }) => hubs.get(name).close(() => say({ event: 'closed' })),
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const order = JSON.parse(line)
  orders[order.do](order)
})
say({ event: 'ready' })
