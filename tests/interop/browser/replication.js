// The two ways to replicate: createHistoryStream as before EBT, and epidemic-broadcast-trees as ssb-ebt uses it. Each
// gives the methods that a remote may call, and what to do with a link.
const pull = require('pull-stream')
const toPull = require('push-stream-to-pull-stream')
const epidemic = require('epidemic-broadcast-trees')

const fault = (what) => (err) => err && err !== true && console.error(what, String(err.message || err))

export function history(feeds) {
  const wanted = new Set()
  const links = new Set()

  // What is there after a sequence, and with `live` all that comes.
  function createHistoryStream({ id, seq = 1, live = false, keys = true }) {
    let [next, waiting, ended] = [Math.max(seq, 1), null, null]
    const look = () => {
      if (!waiting) return
      const message = feeds.of(id)[next - 1]
      if (!ended && !message && live) return
      const cb = waiting
      waiting = null
      if (ended || !message) {
        feeds.listeners.delete(look)
        cb(ended || true)
        return
      }
      next += 1
      cb(null, keys ? message : message.value)
    }
    feeds.listeners.add(look)
    return (abort, cb) => {
      if (abort) {
        ended = abort
        look()
        feeds.listeners.delete(look)
        cb(abort)
        return
      }
      waiting = cb
      look()
    }
  }

  function ask(rpc, id) {
    const asked = rpc.createHistoryStream({ id, seq: feeds.of(id).length + 1, live: true, keys: false })
    pull(asked, pull.drain((value) => void feeds.append(value), fault(`no more of ${id}:`)))
  }

  return {
    manifest: { createHistoryStream: 'source' },
    methods: { createHistoryStream },
    want(id) {
      wanted.add(id)
      for (const rpc of links) ask(rpc, id)
    },
    linked(rpc) {
      links.add(rpc)
      rpc.once('closed', () => links.delete(rpc))
      for (const id of wanted) ask(rpc, id)
    },
  }
}

export function ebt(feeds) {
  const clocks = new Map() // the last that each peer said
  const trees = epidemic({
    id: feeds.id,
    getClock: (id, cb) => cb(null, clocks.get(id) || {}),
    setClock: (id, clock) => clocks.set(id, clock),
    getAt({ id, sequence }, cb) {
      const message = feeds.of(id)[sequence - 1]
      if (message) cb(null, message.value)
      else cb(new Error(`no message ${sequence} of ${id}`))
    },
    append(value, cb) {
      try {
        cb(null, feeds.append(value).value)
      } catch (err) {
        fault(`a message of ${value.author} that is not valid:`)(err)
        cb(err)
      }
    },
  })
  trees.state.clock = feeds.clock()
  feeds.listeners.add(({ value }) => trees.onAppend(value))
  trees.request(feeds.id, true)

  return {
    manifest: { ebt: { replicate: 'duplex' } },
    methods: {
      ebt: {
        // `this` is the caller.
        replicate({ version }) {
          return toPull.duplex(trees.createStream(this.id, version, false))
        },
      },
    },
    want: (id) => trees.request(id, true),
    linked(rpc, dialled) {
      if (!dialled) return
      const local = toPull.duplex(trees.createStream(rpc.id, 3, true))
      pull(local, rpc.ebt.replicate({ version: 3, format: 'classic' }, fault('ebt.replicate ended:')), local)
    },
  }
}
