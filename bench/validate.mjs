// Times ssb-validate on a feed: node validate.mjs <folder of node_modules> <file: one message value a line> <messages to warm up>
// Prints {"seconds", "messages"}. Parsing is timed too, as a peer gets messages from the wire.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(path.join(path.resolve(process.argv[2]), 'noop.js'))
const validate = require('ssb-validate')
const lines = readFileSync(process.argv[3]).toString().trim().split('\n').map((line) => Buffer.from(line))

function run (rows) {
  const state = validate.initial()
  for (const row of rows) {
    validate.append(state, null, JSON.parse(row.toString()))
  }
  return state.validated
}

run(lines.slice(0, Number(process.argv[4])))
const start = process.hrtime.bigint()
const messages = run(lines)
console.log(JSON.stringify({ seconds: Number(process.hrtime.bigint() - start) / 1e9, messages }))
