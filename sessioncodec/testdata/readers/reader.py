"""Reads Pillion session blobs, written from docs/blob-format.md alone.

Each line of standard input is: space TAB storage key TAB keys TAB greatest payload TAB blob in hex, where keys is "-" or
"id=hex,id=hex". Each answer is a line of JSON: {"record": ...} or {"error": class}.
"""

import hashlib
import json
import struct
import sys
import zlib

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HEADER = struct.Struct("<2sBBIIB3sII Q8sQQIIII".replace(" ", ""))
LABEL = b"pillion/session/1\0"


class Rejected(Exception):
    """Its argument is the class of the failure."""


def need(condition, error):
    if not condition:
        raise Rejected(error)


def xaes_key(key, nonce):
    """The key of the messages whose nonce begins with these 12 bytes (C2SP XAES-256-GCM)."""
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    subkey = int.from_bytes(ecb.update(bytes(16)), "big") << 1
    if subkey >> 128:
        subkey = subkey ^ (1 << 128) ^ 0x87
    out = b""
    for counter in (1, 2):
        block = bytes([0, counter, ord("X"), 0]) + nonce
        out += ecb.update((int.from_bytes(block, "big") ^ subkey).to_bytes(16, "big"))
    return out


def unprotect(protection, key_id, keys, blob, bound):
    rest = blob[HEADER.size :]
    if protection == 0:
        need(not keys, "algorithm")
        body, crc = rest[:-4], rest[-4:]
        need(zlib.crc32(bound + body) == int.from_bytes(crc, "little"), "checksum")
        return body
    need(len(rest) >= 40, "truncated")
    need(key_id in keys, "key")
    key = HKDF(SHA256(), 32, None, b"pillion/blob/1").derive(keys[key_id])
    nonce, sealed = rest[:24], rest[24:]
    try:
        return AESGCM(xaes_key(key, nonce[:12])).decrypt(nonce[12:], sealed, bound)
    except InvalidTag:
        raise Rejected("auth") from None


def snappy(body, raw_len):
    """The Snappy block format."""
    length, shift, i = 0, 0, 0
    while True:
        need(i < len(body) and i < 5, "compression")
        length |= (body[i] & 127) << shift
        shift, i = shift + 7, i + 1
        if body[i - 1] < 128:
            break
    need(length == raw_len, "length")
    out = bytearray()
    while i < len(body):
        tag, i = body[i], i + 1
        if tag & 3 == 0:
            n = (tag >> 2) + 1
            if n > 60:
                extra = n - 60
                need(i + extra <= len(body), "compression")
                n, i = int.from_bytes(body[i : i + extra], "little") + 1, i + extra
            need(i + n <= len(body) and len(out) + n <= raw_len, "compression")
            out += body[i : i + n]
            i += n
            continue
        size = {1: 1, 2: 2, 3: 4}[tag & 3]
        need(i + size <= len(body), "compression")
        offset, n = int.from_bytes(body[i : i + size], "little"), (tag >> 2) + 1
        if size == 1:
            offset, n = offset | (tag >> 5) << 8, (tag >> 2 & 7) + 4
        i += size
        need(0 < offset <= len(out) and len(out) + n <= raw_len, "compression")
        for _ in range(n):
            out.append(out[-offset])
    need(len(out) == raw_len, "compression")
    return bytes(out)


def decompress(body, compression, raw_len):
    if compression == 3:
        return snappy(body, raw_len)
    if compression == 1:
        try:
            need(zstandard.frame_content_size(body) <= raw_len, "length")
            body = zstandard.ZstdDecompressor(max_window_size=8 << 20).decompress(body, max_output_size=raw_len)
        except zstandard.ZstdError:
            raise Rejected("compression") from None
    need(len(body) == raw_len, "length")
    return body


class Fields:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        need(self.at + n <= len(self.data), "length")
        self.at += n
        return self.data[self.at - n : self.at]

    def varint(self, bits):
        value, shift = 0, 0
        while True:
            need(shift < 70, "canonical")
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                need(byte or not shift, "canonical")
                need(value < 1 << bits, "canonical")
                return value
            shift += 7

    def short(self):
        return self.varint(32)

    def bytes(self):
        return self.take(self.short())


def link(extensions, name):
    who, at = extensions.pop(name, None), extensions.pop(name + 1, None)
    if who is None and at is None:
        return None
    need(who is not None and at is not None and len(who) == 20 and len(at) == 8 and any(who + at), "canonical")
    issued, when = int.from_bytes(who[16:], "little"), int.from_bytes(at, "little", signed=True)
    return {"random": who[:16].hex(), "issued": issued, "at": str(when)}


def parse_extensions(fields, record):
    """Returns the bytes of the owner's extension."""
    count, last, extensions = fields.short(), -1, {}
    need(count <= 64, "limit")
    for _ in range(count):
        number = fields.short()
        value = fields.bytes()
        need(number > last, "canonical")
        need(number <= 68, "critical")
        extensions[number], last = value, number
    owner = extensions.pop(64, None)
    if owner is not None:
        need(len(owner) >= 9 and len(owner) == 9 + owner[0] and any(owner), "canonical")
        record["owner"] = {"route": owner[1:-8].decode(errors="replace"), "incarnation": str(int.from_bytes(owner[-8:], "little"))}
    record["to"], record["prev"] = link(extensions, 65), link(extensions, 67)
    record["extensions"] = [{"id": number, "value": value.hex()} for number, value in extensions.items()]
    return owner


def parse_entries(fields, record):
    """Returns the greatest clock and the digest."""
    count = fields.short()
    need(count <= 4096, "limit")
    writers = [int.from_bytes(fields.take(8), "little") for _ in range(count)]
    need(all(a < b for a, b in zip(writers, writers[1:])), "canonical")
    used, greatest, digest, last = set(), 0, hashlib.sha256(), None
    count = fields.short()
    need(count <= 4096, "limit")
    need(6 * count <= len(fields.data) - fields.at, "length")
    for _ in range(count):
        kind = fields.take(1)[0]
        clock, writer = int(record["created"]) + fields.varint(64), fields.short()
        name, value = fields.bytes(), fields.bytes()
        need(len(name) <= 1024, "limit")
        need(name and writer < len(writers) and clock < 1 << 64, "canonical")
        need(kind != 2 or not value, "canonical")
        order = (kind == 3, name)
        need(last is None or last < order, "canonical")
        if kind == 3 and name == b"idle":
            need(value == str(record["idle"]).encode(), "canonical")
        last, greatest = order, max(greatest, clock)
        used.add(writer)
        length = len(name) if len(name) < 128 else None
        spelled = bytes([length]) if length is not None else bytes([len(name) & 127 | 128, len(name) >> 7])
        digest.update(bytes([kind == 3]) + spelled + name + struct.pack("<QQ", clock, writers[writer]))
        try:
            text = name.decode()
        except UnicodeDecodeError:
            raise Rejected("canonical") from None
        record["entries"].append(
            {"kind": kind, "name": text, "clock": str(clock), "writer": str(writers[writer]), "value": value.hex()}
        )
    need(len(used) == len(writers), "canonical")
    need(fields.at == len(fields.data), "length")
    return greatest, digest.digest()[:8]


def read(space, storage_key, keys, max_raw, blob):
    need(len(blob) >= HEADER.size + 4, "truncated")
    (magic, version, algorithms_, raw_len, key_id, flags, zero, epoch, owner_hash, clock, digest, created, accessed, idle,
     lifetime, life1, life2) = HEADER.unpack_from(blob)
    need(magic == b"\xb5\x50", "magic")
    need(version == 1, "version")
    compression, protection = algorithms_ & 15, algorithms_ >> 4
    need(compression in (0, 1, 3) and protection in (0, 2), "algorithm")
    bound = LABEL + blob[: HEADER.size] + bytes([len(space)]) + space + storage_key
    body = unprotect(protection, key_id, keys, blob, bound)
    need(flags in (0, 1, 2) and zero == bytes(3) and created < 1 << 63 and accessed < 1 << 63, "header")
    need(protection or not key_id, "header")
    destroyed = flags == 1
    need(destroyed == (raw_len == 0), "header")
    need(not destroyed or not (compression or idle or epoch), "header")
    need(raw_len <= max_raw, "limit")
    payload = decompress(body, compression, raw_len)
    record = {
        "state": ["live", "destroyed", "superseded"][flags], "created": str(created), "accessed": str(accessed), "idle": idle,
        "lifetime": lifetime, "life1": life1, "life2": life2, "epoch": epoch, "owner": None, "to": None, "prev": None,
        "extensions": [], "entries": [],
    }
    owner, said = None, (0, hashlib.sha256().digest()[:8])
    if not destroyed:
        fields = Fields(payload)
        owner = parse_extensions(fields, record)
        said = parse_entries(fields, record)
    want = int.from_bytes(hashlib.sha256(owner).digest()[:4], "little") if owner else 0
    need(said == (clock, digest) and owner_hash == want, "canonical")
    return record


def main():
    for line in sys.stdin:
        space, storage_key, keys, max_raw, blob = line.rstrip("\n").split("\t")
        pairs = [] if keys == "-" else [pair.split("=") for pair in keys.split(",")]
        try:
            answer = {"record": read(space.encode(), storage_key.encode(), {int(i): bytes.fromhex(k) for i, k in pairs},
                                     int(max_raw), bytes.fromhex(blob))}
        except Rejected as error:
            answer = {"error": str(error)}
        print(json.dumps(answer))


main()
