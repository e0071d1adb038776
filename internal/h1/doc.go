// Package h1 is Pillion's HTTP/1.1 engine: it drives a head.Handler between clients and apps, and knows no sessions.
//
// It reads strictly and writes anew. A message that two readers could take for two different ones is refused: what reaches the app, or the
// client, was understood here first. What it promises:
//
//   - A request reaches the app as the client sent it: target byte for byte, field lines in their order and spelling, body, trailers.
//     Fields of one connection end here (RFC 9110, section 7.6.1, H3), X-Forwarded-* are ours unless a trusted proxy sent them (H12),
//     and framing is written anew. The authority of an absolute target replaces Host (RFC 9112, section 3.2.2).
//   - Refused, and the connection closed (P1-P6): Content-Length beside Transfer-Encoding, twice, or anything but digits; any coding but
//     chunked, and that in HTTP/1.0; folded lines; lines that end with a bare LF; control characters; names that are no tokens; a
//     space before the colon; CONNECT and TRACE; more than one Host, or none; malformed targets, chunks and versions; heads that are too long
//     or have too many lines. h2c is not offered to the app. An app's answer is read as strictly, and is a 502 then.
//   - Every head of a response passes the Handler before its first byte leaves: 1xx, 101, the final one, and the trailers (H5). A Handler
//     cannot add lines by writing line ends into a value.
//   - Bodies stream both ways at the same time in constant memory. An Upgrade becomes a tunnel after its 101 passed the Handler (P5).
//   - What the app may have executed is not sent again (P7). A pooled connection that turns out to be dead costs no request of which
//     nothing was sent, nor one that is safe and still whole; a head.Repeater decides about others.
//   - A response that begins before the request's body has ended is the last on its connection; the rest of that body is never taken for a
//     request.
//   - Exchange.Context ends when the client leaves. A client that ends only its own direction has half a second to get its answer.
//   - Handler.End is called exactly once for each Handler.Request, also when a client leaves or code panics. A panic ends one exchange.
//   - A connection between requests holds no buffers.
//
// The strings of heads share the bytes that were read; nobody writes those again, so a Handler may keep them. A short one may keep some
// KiB alive: who keeps strings for long clones them. Slices of fields are used again and must not be kept after End.
//
// HTTP/2 is another engine's. Connections that speak it, by ALPN or by prior knowledge, are handed to it and counted here.
package h1
