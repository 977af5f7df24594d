// Answers, for each line of standard input, what ssb-validate makes of a row of messages.
//
// node validate.cjs <folder with node_modules>
// in:  {"hmac": base64 or null, "raws": [base64 of the bytes of one message on the wire]}
// out: [{"key": id, "raw": JSON.stringify(value)} or null where the message was refused]

'use strict'

const path = require('path')
const readline = require('readline')

const modules = path.join(path.resolve(process.argv[2]), 'node_modules')
const validate = require(path.join(modules, 'ssb-validate'))

function judge (line) {
  const { hmac, raws } = JSON.parse(line)
  const state = validate.initial()
  return raws.map((raw) => {
    try {
      const value = JSON.parse(Buffer.from(raw, 'base64').toString())
      validate.append(state, hmac, value)
      return { key: state.queue[state.queue.length - 1].key, raw: JSON.stringify(value) }
    } catch (_) {
      return null
    }
  })
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  process.stdout.write(JSON.stringify(judge(line)) + '\n')
})
