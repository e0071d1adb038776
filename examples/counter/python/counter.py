"""A visitor counter in a Pillion session: the header contract in Python, without a library."""
import json, os, signal, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Counter</title>
<body style="font:1.1em/1.6 system-ui,sans-serif;max-width:30em;margin:12vh auto;padding:0 1em;color:#1d2939;background:#fcfcfd">
<p>Served by <strong>%s</strong><p style="font-size:5em;line-height:1;margin:0">%d<p>is what your session counts.
<p><a href="/counter">Count</a> &middot; <a href="/get">Session</a> &middot; <a href="/login?user=ada">Log in</a> &middot; <a href="/logout">Log out</a>"""
whole = lambda text: int(text) if text.isdecimal() else 0
api = build_opener(ProxyHandler({}))  # on this machine, whatever http_proxy says

class Counter(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one packet
    def log_message(self, *args): pass
    def session(self):  # in the header, or on the loopback API when it is too large for one
        if "inline=?0" not in self.headers.get("Pillion-Meta", ""):
            return self.headers.get("Pillion-Session", "{}")
        url = os.environ.get("PILLION_API", "") + "/v1/session"
        with api.open(Request(url, headers={"Pillion-Handle": self.headers.get("Pillion-Handle", "")})) as answer: return answer.read().decode()

    def do_GET(self):
        self.rfile.read(whole(self.headers.get("Content-Length", "")))  # a body must not stay in the way of the next request
        while "Transfer-Encoding" in self.headers and self.rfile.read(int(self.rfile.readline(), 16) + 2) != b"\r\n": pass
        url = urlsplit(self.path)
        q = {name: values[0] for name, values in parse_qs(url.query).items()}
        try: text = self.session()
        except (OSError, ValueError): return self.answer('{"error":"session not readable"}', status=503)
        time.sleep(whole(q.get("delay", "")) / 1000)
        key, session = q.get("k", "count"), json.loads(text)
        number = lambda name: session[name] if type(session.get(name)) is int else 0
        match url.path:
            case "/": self.answer(PAGE % (os.environ.get("NAME", "Python"), number("count")), "text/html; charset=utf-8")
            case "/counter": self.set(key, number(key) + 1)
            case "/get": self.answer(text)
            case "/set": self.set(key, q.get("v", ""))
            case "/size": self.set("blob", "x" * min(whole(q.get("bytes", "")), 1 << 20))
            case "/login": user = q.get("user", ""); self.set("user", user, {"Pillion-Subject": json.dumps(user), "Pillion-Op": "renew"})
            case "/logout" | "/invalidate": self.answer('{"value":null}', fields={"Pillion-Op": "destroy"})
            case _: self.answer('{"error":"no such page"}', status=404)
    do_POST = do_GET

    def set(self, name, value, fields={}):  # json.dumps writes ASCII, as a header needs it
        self.answer(json.dumps({"value": value}), fields={"Pillion-Patch": json.dumps({name: value}), **fields})

    def answer(self, text, kind="application/json", status=200, fields={}):
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **fields}.items(): self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
ThreadingHTTPServer.request_queue_size = 128
host, port = os.environ.get("ADDR", "127.0.0.1:3000").rsplit(":", 1)
server = ThreadingHTTPServer((host, int(port)), Counter)
print("listening on %s:%d" % server.server_address[:2], flush=True)
server.serve_forever()
