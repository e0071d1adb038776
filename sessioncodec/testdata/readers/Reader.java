import io.airlift.compress.MalformedInputException;
import io.airlift.compress.zstd.ZstdDecompressor;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.CRC32;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/** Reads Pillion session blobs, written from docs/blob-format.md alone. Lines as in reader.py. */
public class Reader {
    static final int HEADER = 72;
    static final byte[] LABEL = "pillion/session/1\0".getBytes(StandardCharsets.US_ASCII);
    static final HexFormat HEX = HexFormat.of();

    /** Its message is the class of the failure. */
    static class Rejected extends RuntimeException {
        Rejected(String error) {
            super(error);
        }
    }

    static void need(boolean condition, String error) {
        if (!condition) throw new Rejected(error);
    }

    static byte[] concat(byte[]... parts) {
        int length = Arrays.stream(parts).mapToInt(p -> p.length).sum();
        ByteBuffer out = ByteBuffer.allocate(length);
        for (byte[] part : parts) out.put(part);
        return out.array();
    }

    static ByteBuffer little(byte[] data) {
        return ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
    }

    static byte[] sha256(byte[] data) throws GeneralSecurityException {
        return MessageDigest.getInstance("SHA-256").digest(data);
    }

    static byte[] hmac(byte[] key, byte[] data) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(data);
    }

    /** HKDF-SHA256 of one block, without salt. */
    static byte[] blobKey(byte[] secret) throws GeneralSecurityException {
        byte[] info = "pillion/blob/1".getBytes(StandardCharsets.US_ASCII);
        return hmac(hmac(new byte[32], secret), concat(info, new byte[] {1}));
    }

    /** The key of the messages whose nonce begins with these 12 bytes (C2SP XAES-256-GCM). */
    static byte[] xaesKey(byte[] key, byte[] nonce) throws GeneralSecurityException {
        Cipher aes = Cipher.getInstance("AES/ECB/NoPadding");
        aes.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"));
        BigInteger subkey = new BigInteger(1, aes.doFinal(new byte[16])).shiftLeft(1);
        if (subkey.testBit(128)) subkey = subkey.clearBit(128).xor(BigInteger.valueOf(0x87));
        byte[] out = new byte[32];
        for (int half = 0; half < 2; half++) {
            byte[] block = concat(new byte[] {0, (byte) (half + 1), 'X', 0}, nonce);
            for (int i = 0; i < 16; i++) block[i] ^= subkey.shiftRight(8 * (15 - i)).byteValue();
            System.arraycopy(aes.doFinal(block), 0, out, 16 * half, 16);
        }
        return out;
    }

    static byte[] unprotect(int protection, int keyId, Map<Integer, byte[]> keys, byte[] blob, byte[] bound)
            throws GeneralSecurityException {
        if (protection == 0) {
            need(keys.isEmpty(), "algorithm");
            byte[] body = Arrays.copyOfRange(blob, HEADER, blob.length - 4);
            CRC32 crc = new CRC32();
            crc.update(bound);
            crc.update(body);
            need((int) crc.getValue() == little(blob).getInt(blob.length - 4), "checksum");
            return body;
        }
        need(blob.length >= HEADER + 40, "truncated");
        need(keys.containsKey(keyId), "key");
        byte[] key = xaesKey(blobKey(keys.get(keyId)), Arrays.copyOfRange(blob, HEADER, HEADER + 12));
        Cipher gcm = Cipher.getInstance("AES/GCM/NoPadding");
        gcm.init(Cipher.DECRYPT_MODE, new SecretKeySpec(key, "AES"), new GCMParameterSpec(128, blob, HEADER + 12, 12));
        gcm.updateAAD(bound);
        try {
            return gcm.doFinal(blob, HEADER + 24, blob.length - HEADER - 24);
        } catch (AEADBadTagException e) {
            throw new Rejected("auth");
        }
    }

    /** The Snappy block format. */
    static class Snappy {
        final byte[] body;
        int i;

        Snappy(byte[] body) {
            this.body = body;
        }

        long little(int size) {
            need(i + size <= body.length, "compression");
            long value = 0;
            for (int shift = 0; shift < 8 * size; shift += 8) value |= (body[i++] & 255L) << shift;
            return value;
        }

        byte[] decode(int rawLen) {
            long length = 0;
            byte last;
            do {
                need(i < body.length && i < 5, "compression");
                last = body[i];
                length |= (last & 127L) << 7 * i++;
            } while (last < 0);
            need(length == rawLen, "length");
            byte[] out = new byte[rawLen];
            int at = 0;
            while (i < body.length) {
                int tag = body[i++] & 255;
                long n = (tag >> 2) + 1;
                if ((tag & 3) == 0) {
                    if (n > 60) n = little((int) n - 60) + 1;
                    need(i + n <= body.length && at + n <= rawLen, "compression");
                    System.arraycopy(body, i, out, at, (int) n);
                    i += (int) n;
                    at += (int) n;
                    continue;
                }
                long offset;
                if ((tag & 3) == 1) {
                    offset = little(1) | (tag >> 5) << 8;
                    n = (tag >> 2 & 7) + 4;
                } else {
                    offset = little((tag & 3) == 2 ? 2 : 4);
                }
                need(offset > 0 && offset <= at && at + n <= rawLen, "compression");
                for (long end = at + n; at < end; at++) out[at] = out[at - (int) offset];
            }
            need(at == rawLen, "compression");
            return out;
        }
    }

    static byte[] decompress(byte[] body, int compression, int rawLen) {
        if (compression == 3) return new Snappy(body).decode(rawLen);
        if (compression == 1) {
            try {
                need(ZstdDecompressor.getDecompressedSize(body, 0, body.length) <= rawLen, "length");
                byte[] out = new byte[rawLen];
                int n = new ZstdDecompressor().decompress(body, 0, body.length, out, 0, rawLen);
                body = Arrays.copyOf(out, n);
            } catch (MalformedInputException e) {
                throw new Rejected("compression");
            }
        }
        need(body.length == rawLen, "length");
        return body;
    }

    static class Fields {
        final byte[] data;
        int at;

        Fields(byte[] data) {
            this.data = data;
        }

        byte[] take(long n) {
            need(n <= data.length - at, "length");
            at += (int) n;
            return Arrays.copyOfRange(data, at - (int) n, at);
        }

        BigInteger varint(int bits) {
            BigInteger value = BigInteger.ZERO;
            for (int shift = 0;; shift += 7) {
                need(shift < 70, "canonical");
                byte b = take(1)[0];
                value = value.or(BigInteger.valueOf(b & 127).shiftLeft(shift));
                if (b >= 0) {
                    need((b > 0 || shift == 0) && value.bitLength() <= bits, "canonical");
                    return value;
                }
            }
        }

        long number() {
            return varint(32).longValue();
        }

        byte[] bytes() {
            return take(number());
        }
    }

    static boolean zeros(byte[] data) {
        for (byte b : data) if (b != 0) return false;
        return true;
    }

    static String quote(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c < 32 || c > 126 || c == '"' || c == '\\') out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return out.append('"').toString();
    }

    static String link(Map<Long, byte[]> extensions, long name) {
        byte[] who = extensions.remove(name), at = extensions.remove(name + 1);
        if (who == null && at == null) return "null";
        need(who != null && at != null && who.length == 20 && at.length == 8 && !(zeros(who) && zeros(at)), "canonical");
        return String.format("{\"random\":\"%s\",\"issued\":%s,\"at\":\"%d\"}", HEX.formatHex(who, 0, 16),
            Integer.toUnsignedString(little(who).getInt(16)), little(at).getLong());
    }

    static String owner(byte[] owner) {
        if (owner == null) return "null";
        need(owner.length >= 9 && owner.length == 9 + (owner[0] & 255) && !zeros(owner), "canonical");
        int end = owner.length - 8;
        return String.format("{\"route\":%s,\"incarnation\":\"%s\"}",
            quote(new String(owner, 1, end - 1, StandardCharsets.UTF_8)), Long.toUnsignedString(little(owner).getLong(end)));
    }

    static TreeMap<Long, byte[]> extensions(Fields fields) {
        TreeMap<Long, byte[]> out = new TreeMap<>();
        long count = fields.number(), last = -1;
        need(count <= 64, "limit");
        for (; count > 0; count--) {
            long id = fields.number();
            byte[] value = fields.bytes();
            need(id > last, "canonical");
            need(id <= 68, "critical");
            out.put(last = id, value);
        }
        return out;
    }

    /** The entries, their greatest clock and their digest. */
    static class Entries {
        final List<String> json = new ArrayList<>();
        BigInteger greatest = BigInteger.ZERO;
        final MessageDigest digest = MessageDigest.getInstance("SHA-256");

        Entries() throws GeneralSecurityException {}

        void parse(Fields fields, BigInteger created, String idle) {
            long count = fields.number();
            need(count <= 4096, "limit");
            long[] writers = new long[(int) count];
            for (int i = 0; i < count; i++) {
                writers[i] = little(fields.take(8)).getLong();
                need(i == 0 || Long.compareUnsigned(writers[i - 1], writers[i]) < 0, "canonical");
            }
            count = fields.number();
            need(count <= 4096, "limit");
            need(6 * count <= fields.data.length - fields.at, "length");
            BitSet used = new BitSet();
            byte[] last = {};
            for (; count > 0; count--) {
                int kind = fields.take(1)[0] & 255;
                BigInteger clock = created.add(fields.varint(64));
                long writer = fields.number();
                byte[] name = fields.bytes(), value = fields.bytes();
                need(name.length <= 1024, "limit");
                need(name.length > 0 && writer < writers.length && clock.bitLength() <= 64, "canonical");
                need(kind != 2 || value.length == 0, "canonical");
                byte[] order = concat(new byte[] {(byte) (kind == 3 ? 1 : 0)}, name);
                need(Arrays.compareUnsigned(last, order) < 0, "canonical");
                last = order;
                String text = decode(name);
                need(kind != 3 || !text.equals("idle") || idle.equals(new String(value, StandardCharsets.ISO_8859_1)), "canonical");
                greatest = greatest.max(clock);
                used.set((int) writer);
                ByteBuffer stamp = little(new byte[16]).putLong(clock.longValue()).putLong(writers[(int) writer]);
                int n = name.length;
                digest.update(order[0]);
                digest.update(n < 128 ? new byte[] {(byte) n} : new byte[] {(byte) (n & 127 | 128), (byte) (n >> 7)});
                digest.update(name);
                digest.update(stamp.array());
                json.add(String.format("{\"kind\":%d,\"name\":%s,\"clock\":\"%s\",\"writer\":\"%s\",\"value\":\"%s\"}", kind,
                    quote(text), clock, Long.toUnsignedString(writers[(int) writer]), HEX.formatHex(value)));
            }
            need(used.cardinality() == writers.length, "canonical");
            need(fields.at == fields.data.length, "length");
        }

        static String decode(byte[] name) {
            try {
                return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(name)).toString();
            } catch (CharacterCodingException e) {
                throw new Rejected("canonical");
            }
        }
    }

    static String read(String space, String storageKey, Map<Integer, byte[]> keys, int maxRaw, byte[] blob)
            throws GeneralSecurityException {
        need(blob.length >= HEADER + 4, "truncated");
        need(blob[0] == (byte) 0xb5 && blob[1] == 0x50, "magic");
        need(blob[2] == 1, "version");
        int compression = blob[3] & 15, protection = blob[3] >> 4 & 15;
        need(List.of(0, 1, 3).contains(compression) && List.of(0, 2).contains(protection), "algorithm");
        ByteBuffer h = little(blob);
        byte[] spaceBytes = space.getBytes(StandardCharsets.UTF_8);
        byte[] bound = concat(LABEL, Arrays.copyOf(blob, HEADER), new byte[] {(byte) spaceBytes.length}, spaceBytes,
            storageKey.getBytes(StandardCharsets.UTF_8));
        byte[] body = unprotect(protection, h.getInt(8), keys, blob, bound);
        int flags = h.getInt(12), rawLen = h.getInt(4);
        need(flags >= 0 && flags <= 2 && h.getLong(40) >= 0 && h.getLong(48) >= 0, "header");
        need(protection != 0 || h.getInt(8) == 0, "header");
        boolean destroyed = flags == 1;
        need(destroyed == (rawLen == 0), "header");
        need(!destroyed || (compression == 0 && h.getInt(56) == 0 && h.getInt(16) == 0), "header");
        need(Integer.compareUnsigned(rawLen, maxRaw) <= 0, "limit");
        Fields fields = new Fields(decompress(body, compression, rawLen));
        TreeMap<Long, byte[]> extensions = new TreeMap<>();
        Entries entries = new Entries();
        String idle = Integer.toUnsignedString(h.getInt(56));
        if (!destroyed) extensions = extensions(fields);
        byte[] ownerBytes = extensions.remove(64L);
        String owner = owner(ownerBytes), to = link(extensions, 65), prev = link(extensions, 67);
        if (!destroyed) entries.parse(fields, BigInteger.valueOf(h.getLong(40)), idle);
        need(h.getInt(20) == (ownerBytes == null ? 0 : little(sha256(ownerBytes)).getInt(0)), "canonical");
        need(h.getLong(24) == entries.greatest.longValue(), "canonical");
        need(Arrays.equals(Arrays.copyOf(entries.digest.digest(), 8), Arrays.copyOfRange(blob, 32, 40)), "canonical");
        List<String> kept = new ArrayList<>();
        extensions.forEach((id, value) -> kept.add(String.format("{\"id\":%d,\"value\":\"%s\"}", id, HEX.formatHex(value))));
        return String.format("{\"state\":\"%s\",\"created\":\"%d\",\"accessed\":\"%d\",\"idle\":%s,\"lifetime\":%s,\"life1\":%s,"
            + "\"life2\":%s,\"epoch\":%s,\"owner\":%s,\"to\":%s,\"prev\":%s,\"extensions\":%s,\"entries\":%s}",
            List.of("live", "destroyed", "superseded").get(flags), h.getLong(40), h.getLong(48), idle,
            Integer.toUnsignedString(h.getInt(60)), Integer.toUnsignedString(h.getInt(64)), Integer.toUnsignedString(h.getInt(68)),
            Integer.toUnsignedString(h.getInt(16)), owner, to, prev, kept, entries.json);
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null;) {
            String[] field = line.split("\t", -1);
            Map<Integer, byte[]> keys = new TreeMap<>();
            if (!field[2].equals("-")) {
                for (String pair : field[2].split(",")) {
                    String[] part = pair.split("=");
                    keys.put(Integer.parseUnsignedInt(part[0]), HEX.parseHex(part[1]));
                }
            }
            try {
                String record = read(field[0], field[1], keys, Integer.parseInt(field[3]), HEX.parseHex(field[4]));
                System.out.println("{\"record\":" + record + "}");
            } catch (Rejected e) {
                System.out.println("{\"error\":\"" + e.getMessage() + "\"}");
            }
        }
    }
}
