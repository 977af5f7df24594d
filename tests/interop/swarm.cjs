// A multiserver transport for secret-stack on which peers meet with the stock webrtc-swarm: the swarm id is the feed id,
// and the secret handshake runs on the data channel. Whose offer stands is its client. A quiet one does not say that it is
// there, so nobody offers, and it offers to all who do.
'use strict'
const { createRequire } = require('module')

module.exports = (need, { hubs, app, config, quiet = false }) => ({
  name: 'webrtc-swarm',
  version: '1.0.0',
  manifest: {},
  init(ssb) {
    const duplex = createRequire(need.resolve('secret-stack'))('stream-to-pull-stream').duplex
    const opened = new Map() // channels that our own offer opened, by address, until client() takes them
    let onAccepted = null
    let swarm = null

    const addressOf = (id) => `rtc:${encodeURIComponent(id)}`

    function onPeer(peer, id) {
      const stream = duplex(peer)
      stream.address = addressOf(id)
      if (!peer.initiator) return onAccepted(stream)
      opened.set(stream.address, stream)
      const key = id.slice(1).replace(/\.ed25519$/, '')
      ssb.conn.connect(`${stream.address}~shs:${key}`, (err) => {
        if (err) console.error(`no link over webrtc to ${id}:`, err)
      })
    }

    ssb.multiserver.transport({
      name: 'rtc',
      create: () => ({
        name: 'rtc',
        scope: () => 'public',
        server(onConnection, started) {
          onAccepted = onConnection
          const hub = need('signalhub')(app, hubs)
          const wrap = (said, channel) => (quiet && channel === 'all' ? { ...said, type: 'quiet' } : said)
          swarm = need('webrtc-swarm')(hub, { wrtc: need('@roamhq/wrtc'), uuid: ssb.id, config, wrap })
          swarm.on('peer', onPeer)
          const listening = hub.subscribers.map((channel) => new Promise((resolve) => channel.once('open', resolve)))
          Promise.all(listening).then(() => started())
          return (done) => swarm.close(() => done && done())
        },
        client({ channel }, done) {
          const stream = opened.get(channel)
          opened.delete(channel)
          if (stream) done(null, stream)
          else done(new Error(`no channel is open to ${channel}`))
          return () => {}
        },
        parse: (text) => (text.startsWith('rtc:') ? { name: 'rtc', channel: text } : null),
        stringify: () => addressOf(ssb.id),
      }),
    })
  },
})
