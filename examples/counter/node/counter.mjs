// A visitor counter in a Pillion session: the header contract in Node, without a library.
import { createServer } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'

const { ADDR = '127.0.0.1:3000', NAME = 'Node', PILLION_API } = process.env

const page = count => `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Counter</title>
<body style="font:1.1em/1.6 system-ui,sans-serif;max-width:30em;margin:12vh auto;padding:0 1em;color:#1d2939;background:#fcfcfd">
<p>Served by <strong>${NAME}</strong><p style="font-size:5em;line-height:1;margin:0">${count}<p>is what your session counts.
<p><a href="/counter">Count</a> &middot; <a href="/get">Session</a> &middot; <a href="/login?user=ada">Log in</a> &middot; <a href="/logout">Log out</a>`

// Node refuses to send a header that is not Latin-1, and a session header is ASCII.
const ascii = value => JSON.stringify(value).replace(/[\x7f-\uffff]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'))
const whole = text => /^\d+$/.test(text) ? Number(text) : 0

// The session is in the header, or on the loopback API when it is too large for one.
async function read(headers) {
  if (!headers['pillion-meta']?.includes('inline=?0')) return headers['pillion-session'] ?? '{}'
  const answer = await fetch(PILLION_API + '/v1/session', { headers: { 'Pillion-Handle': headers['pillion-handle'] } })
  if (!answer.ok) throw new Error(`GET /v1/session: ${answer.status}`)
  return answer.text()
}

async function serve(req, res) {
  const answer = (text, fields = {}, status = 200) =>
    res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text), ...fields }).end(text)
  const set = (name, value, fields = {}) =>
    answer(JSON.stringify({ value }), { 'Pillion-Patch': ascii({ [name]: value }), ...fields })
  let text
  try {
    text = await read(req.headers)
  } catch {
    return answer('{"error":"session not readable"}', {}, 503)
  }
  const { pathname, searchParams: q } = new URL('http://app' + req.url)
  if (q.has('delay')) await wait(whole(q.get('delay')))
  const key = q.get('k') || 'count', session = JSON.parse(text)
  const number = name => Number.isSafeInteger(session[name]) ? session[name] : 0
  switch (pathname) {
    case '/': return answer(page(number('count')), { 'Content-Type': 'text/html; charset=utf-8' })
    case '/counter': return set(key, number(key) + 1)
    case '/get': return answer(text)
    case '/set': return set(key, q.get('v') ?? '')
    case '/size': return set('blob', 'x'.repeat(Math.min(whole(q.get('bytes')), 1 << 20)))
    case '/login': {
      const user = q.get('user') ?? ''
      return set('user', user, { 'Pillion-Subject': ascii(user), 'Pillion-Op': 'renew' })
    }
    case '/logout': case '/invalidate': return answer('{"value":null}', { 'Pillion-Op': 'destroy' })
    default: return answer('{"error":"no such page"}', {}, 404)
  }
}

const at = ADDR.lastIndexOf(':')
// Idle connections are the sidecar's to close: a server that closes first loses the request just under way.
const server = createServer({ keepAliveTimeout: 600_000 }, (req, res) => serve(req, res).catch(() => res.destroy()))
server.listen(ADDR.slice(at + 1), ADDR.slice(0, at), () => console.log(`listening on ${server.address().address}:${server.address().port}`))
process.on('SIGTERM', () => process.exit(0))
