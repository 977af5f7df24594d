// Says of each line of standard input whether npm ssb-keys takes it for signed, and signs one itself.
//
// node hub_entries.cjs <folder with node_modules>
// in:  {"hmac": base64, "entry": {...}, "seed": base64}
// out: {"verified": bool, "signed": the entry without its signature, signed with the key of the seed}

'use strict'

const path = require('path')
const readline = require('readline')

const keys = require(path.join(path.resolve(process.argv[2]), 'node_modules', 'ssb-keys'))

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { hmac, entry, seed } = JSON.parse(line)
  const own = keys.generate('ed25519', Buffer.from(seed, 'base64'))
  const { signature, ...unsigned } = entry
  const verified = keys.verifyObj({ public: entry.signer.slice(1) }, hmac, entry)
  process.stdout.write(JSON.stringify({ verified, signed: keys.signObj(own, hmac, unsigned) }) + '\n')
})
