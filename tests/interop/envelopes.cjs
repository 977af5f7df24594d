// What the npm packages make of private messages and URIs, in one go: JSON from standard input, JSON to standard output.
//
// node envelopes.cjs <folder with node_modules>
// in:  {reader: seed, authors: [seed], previous: id, plain: text, boxed: {author, previous, text}, uris: [text]}
// out: {envelopes: [text that each author writes to the reader], opened: what the reader reads in `boxed`,
//       uris: [[its id or null, its URI as written by ssb-uri2]]}; seeds are base64

'use strict'

const fs = require('fs')
const path = require('path')

const from = (name) => require(path.join(path.resolve(process.argv[2]), 'node_modules', name))
const { box, unbox } = from('envelope-js')
const { SecretKey, directMessageKey } = from('ssb-private-group-keys')
const bfe = from('ssb-bfe')
const keysOf = from('ssb-keys')
const uri = from('ssb-uri2')

const { reader, authors, previous, plain, boxed, uris } = JSON.parse(fs.readFileSync(0, 'utf8'))
const keys = (seed) => keysOf.generate('ed25519', Buffer.from(seed, 'base64'))
const ours = keys(reader)

const envelopes = authors.map(keys).map((author) => {
  const key = directMessageKey.easy(author)(ours.id)
  const made = box(Buffer.from(plain), bfe.encode(author.id), bfe.encode(previous), new SecretKey().toBuffer(), [key])
  return made.toString('base64') + '.box2'
})

const key = directMessageKey.easy(ours)(boxed.author)
const ciphertext = Buffer.from(boxed.text, 'base64')
const opened = unbox(ciphertext, bfe.encode(boxed.author), bfe.encode(boxed.previous), [key], { maxAttempts: 16 })

const sigilOf = (text) => uri.toFeedSigil(text) || uri.toMessageSigil(text) || uri.toBlobSigil(text)
const spelled = uris.map((text) => [sigilOf(text), uri.compose(uri.decompose(text))])

process.stdout.write(JSON.stringify({ envelopes, opened: opened && opened.toString(), uris: spelled }))
