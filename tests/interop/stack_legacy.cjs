// The legacy stock peer: ssb-server with the plugins of its own `start` command, without those that look beyond the
// process (local discovery, unix socket, onion) or only at the log (logging, query, links).
'use strict'
const { createRequire } = require('module')

const call = (fn, ...args) => new Promise((resolve, reject) => fn(...args, (err, value) => (err ? reject(err) : resolve(value))))

module.exports = (need, config, options) => {
  const pull = createRequire(need.resolve('secret-stack'))('pull-stream')
  const ref = createRequire(need.resolve('ssb-server'))('ssb-ref')
  const stack = need('ssb-server')
    .createSsbServer()
    .use(need('ssb-master'))
    .use(need('ssb-gossip'))
    .use(need('ssb-replicate'))
    .use(need('ssb-friends'))
    .use(need('ssb-blobs'))
    .use(need('ssb-invite'))
    .use(need('ssb-ws'))
  if (options.ebt !== false) stack.use(need('ssb-ebt'))
  stack.use(need('ssb-ooo'))
  // It dials only when told to; what it does with links that are there is its own affair.
  const gossip = { seed: false, global: false, local: false, friends: false, pub: false, autoPopulate: false }
  const ssb = stack({ ...config, gossip, replicate: { hops: config.friends.hops } })

  const publish = (content) => call(ssb.publish, content).then(({ key, value }) => ({ key, value }))
  const feedOf = ({ id, after = 0 }) => new Promise((resolve, reject) =>
    pull(ssb.createHistoryStream({ id, seq: after + 1 }), pull.collect((err, all) => (err ? reject(err) : resolve(all)))))

  const commands = {
    publish: ({ content, recps }) => publish(recps ? { ...content, recps } : content),
    // In slices: of thousands at once some are never answered, and of many some with nothing.
    publishMany: async ({ count, text = 'x' }) => {
      for (let from = 0; from < count; from += 100) {
        const slice = Array.from({ length: Math.min(100, count - from) }, (_, i) => ({ type: 'post', text: `${text} ${from + i}` }))
        await Promise.all(slice.map((content) => call(ssb.publish, content)))
      }
      const { key, value } = await call(ssb.getLatest, ssb.id)
      return { key, sequence: value.sequence }
    },
    follow: ({ id, state = true }) => publish({ type: 'contact', contact: id, following: state }).then((made) => made.key),
    block: ({ id, state = true }) => publish({ type: 'contact', contact: id, blocking: state }).then((made) => made.key),
    request: ({ id, state = true }) => ssb.replicate.request(id, state),
    feed: async (args) => (await feedOf(args)).map(({ key, value }) => ({ key, value })),
    ids: async (args) => (await feedOf(args)).map(({ key }) => key),
    count: async (args) => (await feedOf(args)).length,
    read: ({ key }) => call(ssb.get, { id: key, private: true }), // decrypted where it is for us
    // As an object: its parser of texts knows net addresses only, and its schedule looks at the host.
    connect: ({ address }) => {
      const [, host, port] = address.match(/^[a-z]+:(?:\/\/)?(.+):(\d+)~/)
      return call(ssb.gossip.connect, { address, host, port: +port, key: ref.getKeyFromAddress(address) }).then((rpc) => rpc.id)
    },
    // Whom it dialled has answered its ping.
    pinged: async ({ id }) => {
      while (!ssb.gossip.get(id).ping.rtt.count) await new Promise((resolve) => setTimeout(resolve, 20))
    },
  }
  return { ssb, commands }
}
