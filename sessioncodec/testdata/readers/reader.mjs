// Reads Pillion session blobs, written from docs/blob-format.md alone. Lines as in reader.py.
import {createCipheriv, createDecipheriv, createHash, hkdfSync} from 'node:crypto';
import {createInterface} from 'node:readline';
import {Decompress} from 'fzstd';

const HEADER = 72;

class Rejected extends Error {}

function need(condition, error) {
  if (!condition) throw new Rejected(error);
}

const sha256 = (data) => createHash('sha256').update(data).digest();

function crc32(data) {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

// The key of the messages whose nonce begins with these 12 bytes (C2SP XAES-256-GCM).
function xaesKey(key, nonce) {
  const block = (data) => createCipheriv('aes-256-ecb', key, null).setAutoPadding(false).update(data);
  let subkey = BigInt('0x' + block(Buffer.alloc(16)).toString('hex')) << 1n;
  if (subkey >> 128n) subkey ^= (1n << 128n) | 0x87n;
  const mask = Buffer.from(subkey.toString(16).padStart(32, '0'), 'hex');
  return Buffer.concat([1, 2].map((counter) => {
    const m = Buffer.concat([Buffer.from([0, counter, 0x58, 0]), nonce]);
    return block(m.map((byte, i) => byte ^ mask[i]));
  }));
}

function unprotect(protection, keyID, keys, blob, bound) {
  const rest = blob.subarray(HEADER);
  if (protection === 0) {
    need(keys.size === 0, 'algorithm');
    const body = rest.subarray(0, -4);
    need(crc32(Buffer.concat([bound, body])) === rest.readUInt32LE(body.length), 'checksum');
    return body;
  }
  need(rest.length >= 40, 'truncated');
  need(keys.has(keyID), 'key');
  const key = Buffer.from(hkdfSync('sha256', keys.get(keyID), '', 'pillion/blob/1', 32));
  const decipher = createDecipheriv('aes-256-gcm', xaesKey(key, rest.subarray(0, 12)), rest.subarray(12, 24));
  decipher.setAAD(bound);
  decipher.setAuthTag(rest.subarray(-16));
  const body = decipher.update(rest.subarray(24, -16));
  try {
    decipher.final();
  } catch {
    throw new Rejected('auth');
  }
  return body;
}

// The Snappy block format.
function snappy(body, rawLen) {
  let i = 0, length = 0, byte;
  do {
    need(i < body.length && i < 5, 'compression');
    byte = body[i];
    length += (byte & 127) * 2 ** (7 * i++);
  } while (byte >= 128);
  need(length === rawLen, 'length');
  const out = Buffer.alloc(rawLen);
  let at = 0;
  const little = (size) => {
    need(i + size <= body.length, 'compression');
    i += size;
    return body.readUIntLE(i - size, size);
  };
  while (i < body.length) {
    const tag = body[i++];
    let n = (tag >> 2) + 1;
    if ((tag & 3) === 0) {
      if (n > 60) n = little(n - 60) + 1;
      need(i + n <= body.length && at + n <= rawLen, 'compression');
      body.copy(out, at, i, i + n);
      i += n;
      at += n;
      continue;
    }
    let offset;
    if ((tag & 3) === 1) {
      offset = little(1) | (tag >> 5) << 8;
      n = (tag >> 2 & 7) + 4;
    } else {
      offset = little((tag & 3) === 2 ? 2 : 4);
    }
    need(offset > 0 && offset <= at && at + n <= rawLen, 'compression');
    for (const end = at + n; at < end; at++) out[at] = out[at - offset];
  }
  need(at === rawLen, 'compression');
  return out;
}

function zstd(body, rawLen) {
  const chunks = [];
  let length = 0, complete = false;
  const stream = new Decompress((chunk, final) => {
    length += chunk.length;
    need(length <= rawLen, 'length');
    chunks.push(Buffer.from(chunk));
    complete ||= final;
  });
  try {
    stream.push(body, true);
  } catch (error) {
    throw error instanceof Rejected ? error : new Rejected('compression');
  }
  need(complete, 'compression');
  return Buffer.concat(chunks);
}

function decompress(body, compression, rawLen) {
  if (compression === 3) return snappy(body, rawLen);
  if (compression === 1) body = zstd(body, rawLen);
  need(body.length === rawLen, 'length');
  return body;
}

class Fields {
  constructor(data) {
    this.data = data;
    this.at = 0;
  }
  take(n) {
    need(this.at + n <= this.data.length, 'length');
    this.at += n;
    return this.data.subarray(this.at - n, this.at);
  }
  varint(bits) {
    for (let value = 0n, shift = 0n; ; shift += 7n) {
      need(shift < 70n, 'canonical');
      const byte = this.take(1)[0];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) {
        need((byte > 0 || shift === 0n) && value < 1n << bits, 'canonical');
        return value;
      }
    }
  }
  short() {
    return Number(this.varint(32n));
  }
  bytes() {
    return this.take(this.short());
  }
}

const zeros = (data) => data.every((byte) => byte === 0);

function link(extensions, name) {
  const who = extensions.get(name), at = extensions.get(name + 1);
  extensions.delete(name);
  extensions.delete(name + 1);
  if (!who && !at) return null;
  need(who && at && who.length === 20 && at.length === 8 && !(zeros(who) && zeros(at)), 'canonical');
  return {random: who.toString('hex', 0, 16), issued: who.readUInt32LE(16), at: String(at.readBigInt64LE())};
}

function parseExtensions(fields, record) {
  const extensions = new Map();
  const count = fields.short();
  need(count <= 64, 'limit');
  for (let i = 0, last = -1; i < count; i++) {
    const id = fields.short(), value = fields.bytes();
    need(id > last, 'canonical');
    need(id <= 68, 'critical');
    extensions.set(id, value);
    last = id;
  }
  const owner = extensions.get(64);
  extensions.delete(64);
  if (owner) {
    need(owner.length >= 9 && owner.length === 9 + owner[0] && !zeros(owner), 'canonical');
    const end = owner.length - 8;
    record.owner = {route: owner.toString('utf8', 1, end), incarnation: String(owner.readBigUInt64LE(end))};
  }
  record.to = link(extensions, 65);
  record.prev = link(extensions, 67);
  record.extensions = [...extensions].map(([id, value]) => ({id, value: value.toString('hex')}));
  return owner;
}

const utf8 = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true});

function parseEntries(fields, record) {
  let count = fields.short();
  need(count <= 4096, 'limit');
  const writers = [];
  for (let i = 0; i < count; i++) {
    writers.push(fields.take(8).readBigUInt64LE());
    need(i === 0 || writers[i - 1] < writers[i], 'canonical');
  }
  count = fields.short();
  need(count <= 4096, 'limit');
  need(6 * count <= fields.data.length - fields.at, 'length');
  const used = new Set(), digest = createHash('sha256');
  let greatest = 0n, last = null;
  for (let i = 0; i < count; i++) {
    const kind = fields.take(1)[0];
    const clock = BigInt(record.created) + fields.varint(64n), writer = fields.short();
    const name = fields.bytes(), value = fields.bytes();
    need(name.length <= 1024, 'limit');
    need(name.length > 0 && writer < writers.length && clock < 1n << 64n, 'canonical');
    need(kind !== 2 || value.length === 0, 'canonical');
    const order = Buffer.concat([Buffer.from([kind === 3 ? 1 : 0]), name]);
    need(last === null || Buffer.compare(last, order) < 0, 'canonical');
    need(kind !== 3 || name.toString() !== 'idle' || value.toString() === String(record.idle), 'canonical');
    last = order;
    if (clock > greatest) greatest = clock;
    used.add(writer);
    const stamp = Buffer.alloc(16);
    stamp.writeBigUInt64LE(clock);
    stamp.writeBigUInt64LE(writers[writer], 8);
    const length = name.length < 128 ? [name.length] : [name.length & 127 | 128, name.length >> 7];
    digest.update(order.subarray(0, 1)).update(Buffer.from(length)).update(name).update(stamp);
    let text;
    try {
      text = utf8.decode(name);
    } catch {
      throw new Rejected('canonical');
    }
    record.entries.push({kind, name: text, clock: String(clock), writer: String(writers[writer]), value: value.toString('hex')});
  }
  need(used.size === writers.length, 'canonical');
  need(fields.at === fields.data.length, 'length');
  return {greatest, digest: digest.digest().subarray(0, 8)};
}

function read(space, storageKey, keys, maxRaw, blob) {
  need(blob.length >= HEADER + 4, 'truncated');
  need(blob[0] === 0xb5 && blob[1] === 0x50, 'magic');
  need(blob[2] === 1, 'version');
  const compression = blob[3] & 15, protection = blob[3] >> 4;
  need([0, 1, 3].includes(compression) && [0, 2].includes(protection), 'algorithm');
  const u32 = (at) => blob.readUInt32LE(at), u64 = (at) => blob.readBigUInt64LE(at);
  const header = blob.subarray(0, HEADER), rawLen = u32(4);
  const bound = Buffer.concat([Buffer.from('pillion/session/1\0'), header, Buffer.from([space.length]), space, storageKey]);
  const body = unprotect(protection, u32(8), keys, blob, bound);
  const flags = u32(12);
  need(flags <= 2 && u64(40) < 1n << 63n && u64(48) < 1n << 63n, 'header');
  need(protection !== 0 || u32(8) === 0, 'header');
  const destroyed = flags === 1;
  need(destroyed === (rawLen === 0), 'header');
  const record = {
    state: ['live', 'destroyed', 'superseded'][flags], created: String(u64(40)), accessed: String(u64(48)),
    idle: u32(56), lifetime: u32(60), life1: u32(64), life2: u32(68), epoch: u32(16),
    owner: null, to: null, prev: null, extensions: [], entries: [],
  };
  need(!destroyed || (compression === 0 && record.idle === 0 && record.epoch === 0), 'header');
  need(rawLen <= maxRaw, 'limit');
  const payload = decompress(body, compression, rawLen);
  let owner, said = {greatest: 0n, digest: sha256('').subarray(0, 8)};
  if (!destroyed) {
    const fields = new Fields(payload);
    owner = parseExtensions(fields, record);
    said = parseEntries(fields, record);
  }
  const agrees = said.greatest === u64(24) && said.digest.equals(blob.subarray(32, 40));
  need(agrees && u32(20) === (owner ? sha256(owner).readUInt32LE() : 0), 'canonical');
  return record;
}

for await (const line of createInterface({input: process.stdin})) {
  const [space, storageKey, keys, maxRaw, blob] = line.split('\t');
  const pairs = keys === '-' ? [] : keys.split(',').map((pair) => pair.split('='));
  let answer;
  try {
    const secrets = new Map(pairs.map(([id, secret]) => [Number(id), Buffer.from(secret, 'hex')]));
    answer = {record: read(Buffer.from(space), Buffer.from(storageKey), secrets, Number(maxRaw), Buffer.from(blob, 'hex'))};
  } catch (error) {
    if (!(error instanceof Rejected)) throw error;
    answer = {error: error.message};
  }
  console.log(JSON.stringify(answer));
}
