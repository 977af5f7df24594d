// The feeds of the page's peer: kept in memory, each message checked by ssb-validate.
const validate = require('ssb-validate')

export class Feeds {
  constructor(keys) {
    this.id = keys.id
    this.keys = keys
    this.held = new Map() // messages ({key, value}) by feed id, in order
    this.listeners = new Set() // called with each new message
    this.state = validate.initial()
  }

  of(id) {
    return this.held.get(id) || []
  }

  clock() {
    return Object.fromEntries([...this.held].map(([id, messages]) => [id, messages.length]))
  }

  publish(content) {
    return this.append(validate.create(this.state.feeds[this.id], this.keys, null, content, Date.now()))
  }

  // Takes the next message of a feed; throws what ssb-validate says of any other.
  append(value) {
    this.state = validate.append(this.state, null, value)
    const { key } = this.state.queue.pop()
    const message = { key, value }
    if (!this.held.has(value.author)) this.held.set(value.author, [])
    this.held.get(value.author).push(message)
    for (const listener of [...this.listeners]) listener(message)
    return message
  }

  // Resolves with the clock once every feed of `wanted` has come at least that far.
  reached(wanted) {
    const there = () => Object.entries(wanted).every(([id, sequence]) => this.of(id).length >= sequence)
    if (there()) return Promise.resolve(this.clock())
    return new Promise((resolve) => {
      const look = () => {
        if (!there()) return
        this.listeners.delete(look)
        resolve(this.clock())
      }
      this.listeners.add(look)
    })
  }
}
