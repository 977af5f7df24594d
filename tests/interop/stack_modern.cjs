// The modern stock peer: secret-stack with ssb-db2 and the plugins that its README asks for.
'use strict'
const { createRequire } = require('module')

const call = (fn, ...args) => new Promise((resolve, reject) => fn(...args, (err, value) => (err ? reject(err) : resolve(value))))

module.exports = (need, config, options) => {
  const pull = createRequire(need.resolve('secret-stack'))('pull-stream')
  const { where, and, author, gt, toPullStream } = need('ssb-db2/operators')
  const stack = need('secret-stack')({ appKey: config.caps.shs, caps: config.caps })
    .use(need('ssb-db2'))
    .use(need('ssb-db2/compat/db'))
    .use(need('ssb-db2/compat/ebt'))
    .use(need('ssb-db2/compat/history-stream'))
    .use(need('ssb-db2/compat/log-stream'))
    .use(need('ssb-ebt'))
    .use(need('ssb-friends'))
    .use(need('ssb-conn'))
    .use(need('ssb-replication-scheduler'))
    .use(need('ssb-blobs'))
    .use(need('ssb-ws'))
  if (options.swarm) {
    stack.use(require('./swarm.cjs')(need, options.swarm))
    config.connections.incoming.rtc = [{ scope: 'public', transform: 'shs' }]
    config.connections.outgoing.rtc = [{ transform: 'shs' }]
  }
  const ssb = stack({ ...config, conn: { autostart: false, populatePubs: false } })

  async function feedOf({ id, after = 0 }) {
    const query = after ? and(author(id), gt(after, 'sequence')) : author(id)
    const found = await new Promise((resolve, reject) =>
      pull(ssb.db.query(where(query), toPullStream()), pull.collect((err, all) => (err ? reject(err) : resolve(all)))))
    return found.sort((a, b) => a.value.sequence - b.value.sequence)
  }

  const commands = {
    publish: async ({ content, recps }) => {
      const made = recps
        ? await call(ssb.db.create, { keys: config.keys, feedFormat: 'classic', content, recps, encryptionFormat: 'box' })
        : await call(ssb.db.publish, content)
      return { key: made.key, value: made.value }
    },
    publishMany: async ({ count, text = 'x' }) => {
      const posts = Array.from({ length: count }, (_, i) => call(ssb.db.publish, { type: 'post', text: `${text} ${i}` }))
      const made = await Promise.all(posts)
      return { key: made[count - 1].key, sequence: made[count - 1].value.sequence }
    },
    follow: ({ id, state = true }) => call(ssb.friends.follow, id, { state }).then((made) => made.key),
    block: ({ id, state = true }) => call(ssb.friends.block, id, { state }).then((made) => made.key),
    request: ({ id, state = true }) => ssb.ebt.request(id, state),
    feed: async (args) => (await feedOf(args)).map(({ key, value }) => ({ key, value })),
    ids: async (args) => (await feedOf(args)).map(({ key }) => key),
    count: async (args) => (await feedOf(args)).length,
    read: ({ key }) => call(ssb.db.get, key), // decrypted where it is for us
    connect: ({ address }) => call(ssb.conn.connect, address).then((rpc) => rpc.id),
  }
  return { ssb, commands }
}
