// A second reader of the sealed dialect, written from docs/signalling.md with npm sodium-native alone: it checks the
// vectors, letter by letter, and says what it made of them.
//
// node sealed_letters.cjs <folder with node_modules>
// in:  the vectors (tests/vectors/envelopes.json) on standard input
// out: {channels: [name], envelopes: [letter], announcements: [letter], refused: [why nothing was taken]}

'use strict'

const fs = require('fs')
const path = require('path')
const sodium = require(path.join(path.resolve(process.argv[2]), 'node_modules', 'sodium-native'))

const vectors = JSON.parse(fs.readFileSync(0, 'utf8'))
const hex = (text) => Buffer.from(text, 'hex')
const networkKey = hex(vectors.network_key)
const EVERYBODY = Buffer.alloc(32)

const hash = (size, data, key) => {
  const out = Buffer.alloc(size)
  if (key) sodium.crypto_generichash(out, data, key)
  else sodium.crypto_generichash(out, data)
  return out
}
const sha256 = (data) => {
  const out = Buffer.alloc(32)
  sodium.crypto_hash_sha256(out, data)
  return out
}
const u32 = (number) => {
  const out = Buffer.alloc(4)
  out.writeUInt32BE(number)
  return out
}
const base64url = (raw) => raw.toString('base64').replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '')
const rawKey = (id) => Buffer.from(id.slice(1, -8), 'base64')

// --- names of channels ---

const name = (key, ...data) => base64url(hash(16, Buffer.concat(data), key))

const channel = (made) => {
  switch (made.what) {
    case 'public inbox':
      return name(networkKey, Buffer.from('ssb-rtc-1 public inbox\0'), rawKey(made.peer), u32(made.day))
    case 'friend inbox':
      return name(hex(made.secret), Buffer.from('ssb-rtc-1 friend inbox\0'), u32(made.day))
    case 'announce': {
      const of = Buffer.concat([Buffer.from('ssb-rtc-1 path\0'), rawKey(made.peer), u32(made.day)])
      const bits = hash(16, of, networkKey).readUInt32BE(0)
      const prefix = made.depth === 0 ? 0 : (bits & (0xffffffff << (32 - made.depth))) >>> 0
      return name(networkKey, Buffer.from('ssb-rtc-1 announce\0'), Buffer.from([made.depth]), u32(prefix))
    }
    default:
      return base64url(hex(made.raw))
  }
}

// --- letters ---

const refuse = (why) => { throw new Error(why) }

const block = (body) => {
  if (!/^"[A-Za-z0-9+/]*={0,2}"$/.test(body)) refuse('no string of base64')
  const raw = Buffer.from(body.slice(1, -1), 'base64')
  if (raw.toString('base64') !== body.slice(1, -1)) refuse('base64 in another spelling')
  if (![512, 2048, 8192].includes(raw.length)) refuse('no size of a block')
  return raw
}

// Throws where it is a key to which nothing can be sealed.
const curve = (publicKey) => {
  const out = Buffer.alloc(32)
  sodium.crypto_sign_ed25519_pk_to_curve25519(out, publicKey)
  return out
}

const openBox = (box, publicKey, secretKey) => {
  const plain = Buffer.alloc(box.length - 48)
  if (!sodium.crypto_box_seal_open(plain, box, publicKey, secretKey)) refuse('the box does not open')
  return plain
}

const read = (plain, to) => {
  if (plain[0] !== 1) refuse('another version')
  const kind = plain[1]
  const end = 64 + plain.readUInt16BE(62)
  if (end + 64 > plain.length) refuse('longer than its block')
  if (!plain.subarray(end + 64).every((byte) => byte === 0)) refuse('padding that is not zero')
  const known = to === EVERYBODY ? [16, 17] : [1, 2, 3, 4, 5, 6]
  if (!known.includes(kind)) refuse('no kind for this')
  const from = plain.subarray(2, 34)
  const payload = plain.subarray(64, end)
  const signed = Buffer.concat([
    Buffer.from('ssb-rtc-1 envelope\0'), sha256(networkKey), from, to, plain.subarray(1, 2), plain.subarray(34, 62), payload
  ])
  if (!sodium.crypto_sign_verify_detached(plain.subarray(end, end + 64), signed, from)) refuse('the signature is wrong')
  curve(from)
  return {
    kind,
    from: from.toString('hex'),
    session: plain.subarray(34, 50).toString('hex'),
    sequence: plain.readUInt32BE(50),
    time_ms: Number(plain.readBigUInt64BE(54)),
    payload: payload.toString('hex')
  }
}

const openEnvelope = (body, peer) => {
  const to = hex(peer.public)
  const [publicKey, secretKey, curveSecret] = [Buffer.alloc(32), Buffer.alloc(64), Buffer.alloc(32)]
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, hex(peer.seed))
  sodium.crypto_sign_ed25519_sk_to_curve25519(curveSecret, secretKey)
  return read(openBox(block(body), curve(to), curveSecret), to)
}

const openAnnouncement = (body) => {
  const box = block(body)
  if (box.length !== 512) refuse('no size of an announcement')
  const key = hash(32, Buffer.from('ssb-rtc-1 announce key\0'), networkKey)
  const plain = Buffer.alloc(512 - 40)
  if (!sodium.crypto_secretbox_open_easy(plain, box.subarray(24), box.subarray(0, 24), key)) refuse('does not open')
  return read(plain, EVERYBODY)
}

// --- payloads ---

const unseal = (box, secret) => {
  const publicKey = Buffer.alloc(32)
  sodium.crypto_scalarmult_base(publicKey, hex(secret))
  return openBox(box, publicKey, hex(secret)).toString()
}

const says = (letter, secret) => {
  const payload = hex(letter.payload)
  const ends = () => ({ ephemeral: payload.toString('hex', 0, 32), reply: payload.toString('hex', 32, 48) })
  switch (letter.kind) {
    case 1: return { ...ends(), alone: (payload[48] & 1) === 1 }
    case 2: return { ...ends(), opened_with: secret, sdp: unseal(payload.subarray(48), secret) }
    case 3: return { opened_with: secret, sdp: unseal(payload, secret) }
    case 4: return { opened_with: secret, ...JSON.parse(unseal(payload, secret)) }
    case 5: return { seconds: payload.readUInt32BE(0) }
    case 6: return { wall_ms: Number(payload.readBigUInt64BE(0)) }
    case 16: return { free: payload[0] }
    default: return {}
  }
}

const reason = (open) => {
  try {
    open()
  } catch (error) {
    return error.message
  }
  return null
}

const peers = Object.values(vectors.peers)
const withWords = (letter, vector) => ({ ...letter, says: says(letter, vector.says.opened_with) })

process.stdout.write(JSON.stringify({
  channels: vectors.channels.map(channel),
  envelopes: vectors.envelopes.map((vector) =>
    withWords(openEnvelope(vector.body, peers.find((peer) => peer.public === vector.to)), vector)),
  announcements: vectors.announcements.map((vector) => withWords(openAnnouncement(vector.body), vector)),
  refused: [
    ...vectors.refused_by_bob.map(({ body }) => reason(() => openEnvelope(body, vectors.peers.bob))),
    ...vectors.refused_announcements.map(({ body }) => reason(() => openAnnouncement(body)))
  ]
}))
